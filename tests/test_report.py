"""The report opens the test set, once, when nothing is left to choose."""

import re
from pathlib import Path

import numpy as np
import pytest

from fmnist_bench import report as module
from fmnist_bench import runner
from fmnist_bench.data import load_dataset
from fmnist_bench.ensemble import load_ensemble
from fmnist_bench.errors import InputError
from fmnist_bench.progress import Progress
from fmnist_bench.saved_models import load_model

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


def test_figures_and_pages_are_mlflows_artifacts(place):
    outcome = runner.run_benchmark("tiny", progress=Progress())
    (page,) = place.parent.parent.glob("mlruns/artifacts/*/artifacts/report.html")
    assert page.read_text() == (outcome.folder / "report.html").read_text()
    names = sorted(path.name for path in (outcome.folder / "figures").iterdir())
    assert {"anytime.png", "confusion_ensemble.png", "mistakes.png"} <= set(names)
    assert sorted(path.name for path in (page.parent / "figures").iterdir()) == names


def test_the_report_says_which_parameters_mattered_and_how_to_load_the_model_to_use(place):
    outcome = runner.run_benchmark("tiny", trials=9, progress=Progress())
    found = outcome.findings.importances["bayes"]
    assert found.n_trials == 9
    assert found.shares == {"model__var_smoothing": 1.0}
    assert found.searched == {"model__var_smoothing": True}
    assert (outcome.folder / "figures" / "slices_bayes.png").exists()

    single = runner.run_benchmark("tiny", trials=1, fresh=True, progress=Progress()).findings
    assert single.choice.name == "bayes"  # the ensemble of this one model can be no better
    path = re.fullmatch(r'fmnist_bench\.load_model\("(.+)"\)', single.how_to_open["Model"])[1]
    test = load_dataset("digits", "test")
    np.testing.assert_allclose(
        load_model(Path(path)).predict_proba(test.X), single.choice.test_probabilities, atol=1e-6
    )


def test_the_ensemble_without_its_temperature_is_the_mean_of_its_members(place):
    outcome = runner.run_benchmark("tiny", trials=3, progress=Progress())
    found, ensemble = outcome.findings, load_ensemble(outcome.folder / "ensemble")
    members = np.stack([member.predict_proba(found.X_test) for _, member in ensemble.members_])
    np.testing.assert_allclose(found.uncalibrated, np.average(members, axis=0, weights=ensemble.weights_), atol=1e-6)


def test_a_model_that_was_changed_is_refused_when_the_report_needs_it(place):
    outcome = runner.run_benchmark("tiny", progress=Progress())
    for path in outcome.folder.glob("trials/bayes/*/test_probabilities*"):
        path.unlink()
    for path in outcome.folder.glob("trials/bayes/*/model.skops"):
        path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="not a readable model file"):
        runner.rewrite_report("tiny")
