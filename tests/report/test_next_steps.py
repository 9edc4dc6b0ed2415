"""What to do after a run, as its report says."""

from dataclasses import replace

import numpy as np
import pytest

from fmnist_bench.report.contestant import learnt_from
from fmnist_bench.report.next_steps import next_steps
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial


def told(findings, words):
    return [line for line in next_steps(findings) if words in line]


def with_parameters(findings, **parameters):
    linear, bayes = findings.contestants
    return replace(findings, contestants=(replace(linear, parameters=parameters), bayes))


@pytest.mark.parametrize(("alpha", "is_told"), [(1e-4, True), (1e-1, True), (1e-2, False), ("auto", False), (0, False)])
def test_a_best_value_at_the_edge_of_its_range_is_told(findings, alpha, is_told):
    findings = replace(with_parameters(findings, alpha=alpha), ranges={"linear": {"alpha": (1e-4, 1e-1)}})
    lines = told(findings, "edge of its range")
    assert len(lines) == is_told
    assert not is_told or lines[0].endswith(f"alpha = {alpha:g} (0.0001 to 0.1)")


def test_a_study_that_learnt_from_a_part_of_the_rows_is_told(findings):
    assert not told(findings, "a part of the train rows")
    linear, bayes = findings.contestants
    findings = replace(findings, contestants=(replace(linear, learnt_from=0.15), replace(bayes, learnt_from=1.09)))
    (line,) = told(findings, "a part of the train rows")
    assert line.endswith("linear (15 %)")


def test_a_trial_tells_what_it_learnt_from():
    trial = Trial("cnn", 0, fidelity={"rows": 0.15}, result=TrialResult("complete"))
    assert learnt_from(trial) == 0.15
    assert learnt_from(Trial("cnn", 1, result=TrialResult("complete", fine_tuned=0.25))) == 1.25


def test_a_study_without_a_complete_trial_is_told_with_its_reason(findings):
    assert told(findings, "svm has no complete trial: ValueError")
    weights = Trial("resnet50", 0, result=TrialResult("no_weights", "NoWeights: download a, b, c"))
    findings = replace(findings, trials=(*findings.trials, weights))
    assert told(findings, "resnet50 has no complete trial: its pretrained weights are missing")


def test_an_ensemble_that_is_no_better_than_its_best_member_is_told(findings):
    linear, _ = findings.contestants
    alike = replace(findings.ensemble, valid_probabilities=linear.valid_probabilities)
    assert told(replace(findings, ensemble=alike), "no better than linear alone")
    perfect = replace(findings.ensemble, valid_probabilities=np.eye(10)[findings.y_valid])
    assert not told(replace(findings, ensemble=perfect), "no better than")


@pytest.mark.parametrize(
    ("so_far", "said"),
    [
        (((2.0, 0.8), (12.0, 0.9)), "at most about 5.0 points: from half of the time to its end, errors on validation"),
        (((2.0, 0.9), (12.0, 0.9)), "hardly anything"),
        (((12.0, 0.9),), "cannot be told: there was no ensemble yet when half of the time had passed"),
    ],
)
def test_what_twice_the_time_may_bring_is_told_by_the_runs_own_curve(findings, so_far, said):
    first, *_ = next_steps(replace(findings, so_far=so_far))
    assert said in first


def test_nothing_is_told_of_time_where_there_was_no_ensemble(findings):
    assert not told(findings, "time")
