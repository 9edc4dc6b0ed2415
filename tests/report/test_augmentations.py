"""With against without an augmentation: which trials of which studies."""

from types import SimpleNamespace

import numpy as np
import pytest

from fmnist_bench.report.augmentations import compare, pairs
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import SEARCH, TRAIN, Trial

PARTS = {"cnn+gan": ("cnn", "gan")}


def record(study, number, right, rung=1, phase=SEARCH):
    result = TrialResult("complete", accuracy=right / 10, log_loss=1.0)
    return Trial(study, number, {}, "", result, 10.0, 10.0, rung, {}, phase)


def run_of(records):
    """A run of ten validation rows of class 0; a trial is right on the first ones."""
    right = {(r.study, r.number): round(10 * r.result.accuracy) for found in records.values() for r in found}
    found = {key: np.eye(2)[(np.arange(10) >= n).astype(int)] for key, n in right.items()}
    return SimpleNamespace(y_valid=lambda: np.zeros(10, int), valid_probabilities=lambda *key: found[key])


def test_a_study_is_held_against_each_with_one_augmentation_less():
    studies = [("cnn",), ("cnn", "classic"), ("cnn", "gan"), ("cnn", "classic", "gan"), ("cn",), ("other", "gan")]
    parts = {"+".join(study): study for study in studies} | {"cnn+tree": ("cnn+tree",)}  # a study of that name
    assert pairs(list(parts), parts) == [
        ("cnn", "cnn+classic"),
        ("cnn", "cnn+gan"),
        ("cnn+classic", "cnn+classic+gan"),
        ("cnn+gan", "cnn+classic+gan"),
    ]


def test_networks_that_were_trained_longer_do_not_count():
    plain = [record("cnn", 0, 4, rung=0), record("cnn", 1, 6), record("cnn", 2, 5), record("cnn", 3, 9, phase=TRAIN)]
    records = {"cnn": plain, "cnn+gan": [record("cnn+gan", 0, 7)]}
    ((without, augmented, difference),) = compare(run_of(records), records, PARTS)
    assert (without.number, augmented.number) == (1, 0)
    assert difference.difference == pytest.approx(0.1)


def test_trials_of_different_fidelities_are_not_compared():
    records = {"cnn": [record("cnn", 0, 4, rung=0)], "cnn+gan": [record("cnn+gan", 0, 7, rung=1)]}
    assert list(compare(run_of(records), records, PARTS)) == []
