"""A trial as a value: what tells configurations apart, what it cost, what is believed of its record."""

import json
from dataclasses import asdict, replace

import pytest

from fmnist_bench.storage.results import NOT_BEGUN, TrialResult
from fmnist_bench.storage.trial import RECORD, Trial, best, read_record

TRIAL = Trial("svm", 3, {"C": 1.0}, seconds=12.0, result=TrialResult("complete", "", 0.9, 0.3, fit_seconds=10.0))


def test_parameters_are_a_key_however_json_writes_them():
    layers = Trial("mlp", parameters={"layers": (64, [32]), "solver": {"name": "adam", "rate": 0.1}})
    again = Trial("mlp", parameters=json.loads(json.dumps(layers.parameters)))
    assert layers.config == again.config != replace(again, parameters={"layers": [64, 32]}).config


def test_seconds_of_a_short_schedule_are_told_for_the_whole_one():
    half = replace(TRIAL, result=replace(TRIAL.result, schedule_share=0.5))
    assert (TRIAL.whole_seconds, half.whole_seconds, half.fixed_seconds) == (12.0, 22.0, 2.0)
    assert replace(half, result=replace(half.result, embed_seconds=4.0)).whole_seconds == 18.0, "rows are seen once"


def test_what_did_not_complete_has_no_accuracy():
    assert (TRIAL.accuracy, TRIAL.is_complete) == (0.9, True)
    failed = replace(TRIAL, result=replace(TRIAL.result, status="failed"))
    assert (failed.accuracy, best([failed, TRIAL], 2)) == (None, [TRIAL])


@pytest.mark.parametrize(("changes", "is_read"), [({}, True), ({"number": 4}, False), ({"seconds": -1.0}, False)])
def test_a_record_is_believed_where_it_stands_and_adds_up(tmp_path, changes, is_read):
    assert (written(replace(TRIAL, **changes), tmp_path) is not None) == is_read


def test_a_record_that_says_that_nothing_has_begun_is_none(tmp_path):
    assert written(replace(TRIAL, result=TrialResult(NOT_BEGUN)), tmp_path) is None


def written(trial, place):
    (folder := place / "svm" / "3").mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(asdict(trial)))
    return read_record(folder)
