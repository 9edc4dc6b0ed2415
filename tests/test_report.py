"""The report opens the test set, once, when nothing is left to choose."""

import pytest

from fmnist_bench import report as module
from fmnist_bench import runner
from fmnist_bench.data import load_dataset
from fmnist_bench.errors import InputError
from fmnist_bench.progress import Progress

STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 1e-1, log = true }\n'


@pytest.fixture
def place(arena):
    arena("studies/bayes.toml", STUDY)
    return arena("benchmarks/tiny.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 2\nstudies = ["bayes"]\n')


def test_the_test_set_is_opened_after_the_ensemble_is_fixed_and_by_the_report_alone(place, monkeypatch):
    opened = []

    def watch(who):
        def load(name, subset="train", path=None):
            opened.append((who, subset, bool(list(place.parent.parent.glob("mlruns/runs/*/ensemble/manifest.json")))))
            return load_dataset(name, subset, path)

        return load

    monkeypatch.setattr(runner, "load_dataset", watch("runner"))
    monkeypatch.setattr(module, "load_dataset", watch("report"))
    runner.run_benchmark("tiny", progress=Progress())
    assert opened == [("runner", "train", False), ("report", "test", True)]


def test_no_test_row_is_in_the_folder_that_the_workers_read(place):
    runner.run_benchmark("tiny", progress=Progress())
    mlruns = place.parent.parent / "mlruns"
    (rows,) = mlruns.glob("cache/rows-*")
    assert sorted(path.name for path in rows.iterdir()) == ["X.npy", "y.npy"]
    assert not list(mlruns.rglob("test_rows*"))


def test_a_model_that_was_changed_is_refused_when_the_report_needs_it(place):
    outcome = runner.run_benchmark("tiny", progress=Progress())
    for path in outcome.folder.glob("trials/bayes/*/test_probabilities*"):
        path.unlink()
    for path in outcome.folder.glob("trials/bayes/*/model.skops"):
        path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="not a readable model file"):
        runner.rewrite_report("tiny")
