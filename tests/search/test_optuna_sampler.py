"""The sampler: what Optuna is asked and told, and what its journal keeps."""

import math
from dataclasses import replace

import pytest
from scenes import KNOWN, LEVELS, answer, ask, make, make_run

from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import DefaultConfiguration
from fmnist_bench.report.importance import FEWEST, importances
from fmnist_bench.storage.journal import open_journal
from fmnist_bench.storage.run_folder import Run, Store


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


CHOICES = {"a": Range(choices=(None, 3)), "b": Range(choices=([64], [64, None])), "c": Range(choices=("x", {"0": 2.0}))}


def test_lists_dictionaries_and_none_are_asked_known_and_read_again(run):
    defaults = [DefaultConfiguration("one", {"model__a": None, "model__b": [64, None], "model__c": {"0": 2.0}})]
    spec = Spec("sklearn.svm.SVC", CHOICES)
    search, asked = make(run, defaults, spec), []
    while len(asked) < 4:
        asked.append(ask(search))
        if len(asked) < 4:
            answer(search, run, asked[-1])
    assert asked[0].parameters == defaults[0].parameters
    assert len({asks.config for asks in asked}) == 4
    assert all(CHOICES[n].contains(asks.parameters[f"model__{n}"]) for asks in asked for n in CHOICES)
    again = make(run, defaults, spec)
    assert [asks.parameters for asks in again.left_running()] == [asked[-1].parameters]
    assert [record.parameters for record in run.records("svm")] == [asks.parameters for asks in asked[:-1]]


def test_a_resumed_search_asks_what_it_would_have_asked(run, tmp_path):
    search, asked = make(run), []
    for i in range(8):
        asked.append(ask(search))
        answer(search, run, asked[-1], accuracy=i / 10)
    again = make(run)
    assert again.count() == 8
    there = Run(Store(tmp_path / "other"), tmp_path / "other" / "run", "b")
    there.folder.mkdir()
    other = make(there)
    for i in range(8):
        asks = ask(other)
        assert asks.parameters == asked[i].parameters
        answer(other, there, asks, accuracy=i / 10)
    assert ask(other).parameters == ask(again).parameters


def test_a_question_that_was_cut_off_is_withdrawn_and_asked_again(run):
    defaults = [DefaultConfiguration("one", {"model__C": 3.0, "model__degree": 2})]
    search = make(run, defaults)
    search.sampler._optuna.ask({})  # the process dies before the parameters of the default configuration are written
    again = make(run, defaults)
    assert again.left_running() == []
    asks = ask(again)
    assert (asks.default, asks.parameters) == ("one", {"model__C": 3.0, "model__degree": 2})


def test_nothing_is_tried_twice_and_a_small_space_is_exhausted(run):
    search = make(run, spec=Spec("sklearn.svm.SVC", {"kernel": Range(choices=("rbf", "poly", "linear"))}))
    tried = []
    while (asks := ask(search)) is not None:
        tried.append(asks.parameters["model__kernel"])
        answer(search, run, asks)
    assert sorted(tried) == ["linear", "poly", "rbf"]
    assert search.search(math.inf) is None


def test_a_bad_trial_is_pruned_and_a_known_one_never(run):
    search = make(run, [DefaultConfiguration(str(i), {"model__C": float(i + 1)}) for i in range(4)])
    for _ in range(4):
        asks = ask(search)
        assert not any(search.should_prune(asks, step, 0.9) for step in range(1, 5))
        answer(search, run, asks, accuracy=0.9)
    asks = ask(search)
    assert [search.should_prune(asks, step, 0.1) for step in (1, 2)][-1]


def test_a_journal_line_that_was_cut_off_is_cut_away(run):
    search = make(run)
    answer(search, run, ask(search))
    whole = run.journal.read_bytes()
    run.journal.write_bytes(whole + b'{"op_code": 4, "wor')
    open_journal(run.journal)
    assert run.journal.read_bytes() == whole
    assert make(run).count() == 1


def played(run, n=6):
    """Ask and answer `n` times; return what was asked, by number."""
    search, asked = make(run, KNOWN, levels=LEVELS), {}
    for i in range(n):
        asks = ask(search)
        asked[asks.number] = asks
        answer(search, run, asks, accuracy=None if i == 2 else i / 10, status="failed" if i == 2 else "complete")
    return asked


def without(path, *numbers):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for i, line in enumerate(lines) if i not in numbers))


HARMS = {
    "gone": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10]),
    "begins too late": lambda path: without(path, 0, 1, 2),
    "a line of garbage": lambda path: path.write_bytes(path.read_bytes() + b"no line of a journal\n"),
    "an empty line": lambda path: path.write_bytes(b"\n" + path.read_bytes()),
    "a line of NULs": lambda path: path.write_bytes(path.read_bytes().replace(b'"model__C"', b"\0" * 10)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "another JSON": lambda path: path.write_bytes(b"[1]\nnull\n" + path.read_bytes()),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_journal_that_others_changed_is_made_again_from_the_records(run, harm):
    asked = played(run)
    before = make(run, KNOWN, levels=LEVELS)
    HARMS[harm](run.journal)
    search = make(run, KNOWN, levels=LEVELS)
    assert search.left_running() == []
    assert {record.number: record.parameters for record in search.records} == {
        number: dict(each.parameters) for number, each in asked.items()
    }
    assert search.halving.trials == before.halving.trials
    again = make(run, KNOWN, levels=LEVELS)  # what was made holds
    asks = ask(again)
    assert asks.number == len(asked)
    states = [trial.state.name for trial in again.sampler._trials()]
    assert states[:3] == ["PRUNED", "COMPLETE", "FAIL"]


def test_a_journal_of_other_trials_is_not_believed(run, tmp_path):
    asked = played(run)
    (tmp_path / "other").mkdir()
    other = make_run(tmp_path / "other")
    search = make(other)
    for _ in range(8):
        answer(search, other, ask(search))
    run.journal.write_bytes(other.journal.read_bytes())
    found = make(run, KNOWN, levels=LEVELS).sampler._trials()
    assert [trial.params for trial in found] == [dict(each.parameters) for each in asked.values()]


def test_what_was_withdrawn_since_it_was_told_has_failed(run):
    played(run)
    for number in (0, 1):
        record = run.record("svm", number)
        result = replace(record.result, status="interrupted", accuracy=None, log_loss=None)
        run.save_record(replace(record, result=result))
    trials = make(run, KNOWN, levels=LEVELS).sampler._trials()
    assert [trial.state.name for trial in trials[:3]] == ["FAIL"] * 3
    assert not any(trial.intermediate_values for trial in trials[:2])
    assert trials[3].params, "the others are kept"


def test_a_number_whose_record_is_lost_with_the_journal_is_not_given_again(run):
    played(run, 4)
    (run.trial_folder("svm", 3) / "trial.json").write_text("{")
    (run.trial_folder("svm", 1) / "trial.json").unlink()
    run.journal.unlink()
    search = make(run, KNOWN, levels=LEVELS)
    assert [record.number for record in search.records] == [0, 2]
    assert ask(search).number == 4


def test_a_trial_whose_record_is_lost_is_asked_again(run):
    asked = played(run, 4)
    (run.trial_folder("svm", 3) / "trial.json").write_text("{")
    search = make(run, KNOWN, levels=LEVELS)
    assert [record.number for record in search.records] == [0, 1, 2]
    (left,) = search.left_running()
    assert (left.number, left.config, left.rung) == (3, asked[3].config, asked[3].rung)
    answer(search, run, asked[3], accuracy=None, status="interrupted")
    assert ask(search).config == asked[3].config


def test_importances_tell_what_mattered_from_what_did_not(run):
    search, scores = make(run), {}
    for _ in range(FEWEST + 4):
        asks = ask(search)
        scores[asks.number] = 0.5 + math.log10(asks.parameters["model__C"]) / 4
        answer(search, run, asks, scores[asks.number])
    found = importances(run, {"svm": scores, "of_another_engine": {0: 0.5}})
    assert list(found) == ["svm"]
    shares, searched = found["svm"]
    assert list(shares) == ["model__C", "model__degree"]
    assert shares["model__C"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert searched == {"model__C": True, "model__degree": False}


def test_importances_of_too_few_trials_or_of_equal_ones_are_not_guessed(run):
    search, numbers = make(run), []
    for _ in range(FEWEST):
        asks = ask(search)
        numbers.append(asks.number)
        answer(search, run, asks, accuracy=0.5)
    assert importances(run, {"svm": dict.fromkeys(numbers, 0.5)})["svm"][0] == {}
    few = {number: number / 10 for number in numbers[1:]}
    assert importances(run, {"svm": few})["svm"][0] == {}
    assert importances(run, {"svm": few | {numbers[0]: 0.0}})["svm"][0] != {}
