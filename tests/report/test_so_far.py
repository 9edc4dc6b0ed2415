"""What the ensemble would have been worth earlier."""

from types import SimpleNamespace

import numpy as np
import pytest

from fmnist_bench.report.so_far import MOMENTS, ensembles_so_far
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial


def record(study, number, accuracy, ended, status="complete"):
    return Trial(study, number, {}, "", TrialResult(status, accuracy=accuracy, log_loss=1.0), 1.0, ended)


def run_of(probabilities):
    """A run of four validation rows of class 0; `probabilities` are those of class 0, by study and trial."""
    found = {key: np.column_stack([sure, 1 - np.array(sure)]) for key, sure in probabilities.items()}
    return SimpleNamespace(y_valid=lambda: np.zeros(4, int), valid_probabilities=lambda *key: found[key])


def test_studies_that_err_elsewhere_make_a_better_ensemble_than_either():
    run = run_of({("a", 0): [0.9, 0.9, 0.9, 0.4], ("b", 0): [0.9, 0.9, 0.4, 0.9]})
    records = {"a": [record("a", 0, 0.75, 10.0)], "b": [record("b", 0, 0.75, 20.0)]}
    assert ensembles_so_far(run, records) == [(10.0, 0.75), (20.0, 1.0)]


def test_only_what_is_new_and_better_in_its_study_makes_a_new_ensemble():
    run = run_of({("a", 0): [0.9, 0.9, 0.9, 0.4], ("a", 2): [0.9] * 4})
    tried = [record("a", 0, 0.75, 10.0), record("a", 1, 0.5, 20.0), record("a", 2, 1.0, 30.0)]
    assert ensembles_so_far(run, {"a": [*tried, record("a", 3, None, 40.0, "failed")]}) == [(10.0, 0.75), (30.0, 1.0)]


@pytest.mark.parametrize("n", [0, 1, 100])
def test_there_are_few_moments_however_many_trials_there_are(n):
    run = run_of({("a", i): [0.9, 0.9, 0.9, 0.4] for i in range(n)})
    found = ensembles_so_far(run, {"a": [record("a", i, i / 100, float(i)) for i in range(n)]})
    assert len(found) == min(n, MOMENTS)
    assert not found or (found[0][0], found[-1][0]) == (0.0, n - 1)
