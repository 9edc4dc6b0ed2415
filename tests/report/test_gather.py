"""The report opens the test set, once, when nothing is left to choose."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from places import furnish

from fmnist_bench import runner
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.ensemble.selection import with_temperature
from fmnist_bench.models.saved import load_model
from fmnist_bench.progress.displays import Progress
from fmnist_bench.report import opening, predictions
from fmnist_bench.report.gather import write_report
from fmnist_bench.report.occlusion import hidden
from fmnist_bench.runner import session, setup
from fmnist_bench.storage.find_runs import open_folder
from fmnist_bench.storage.run_folder import Store
from fmnist_bench.storage.trial_folder import MODEL, PROBABILITIES, TEST_PROBABILITIES

STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 1e-1, log = true }\n'

SVM = """
[model]
use = "sklearn.calibration.CalibratedClassifierCV"
method = "temperature"
cv = 2
[model.estimator]
use = "fmnist_bench.models.SVC"
C = { low = 1.0, high = 9.0 }
"""

BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = 2\nstudies = ["bayes"]\n'


@pytest.fixture
def place(arena):
    arena("studies/bayes.toml", STUDY)
    return arena("benchmarks/tiny.toml", BENCHMARK)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, empty_database):
    """The folder in which nine trials have run, and what came of them."""
    files = {"studies/bayes.toml": STUDY, "benchmarks/tiny.toml": BENCHMARK}
    folder = furnish(tmp_path_factory.mktemp("whole"), empty_database, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, runner.run_benchmark("tiny", trials=9, progress=Progress())


@pytest.fixture
def copied(whole, tmp_path, monkeypatch, no_figures):
    """The same in a copy of its folder, for those who change something."""
    folder, outcome = whole
    copy = shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(copy)
    return dataclasses.replace(outcome, folder=copy / outcome.folder.relative_to(folder))


def test_the_report_alone_opens_the_test_set_when_the_ensemble_is_fixed(place, monkeypatch, no_figures):
    opened = []

    def watch(who):
        def load(name, subset="train", path=None, **reading):
            opened.append((who, subset, bool(list(place.parent.parent.glob("mlruns/runs/*/ensemble/manifest.json")))))
            return load_dataset(name, subset, path, **reading)

        return load

    monkeypatch.setattr(setup, "load_dataset", watch("runner"))
    monkeypatch.setattr(opening, "load_dataset", watch("report"))
    runner.run_benchmark("tiny", progress=Progress())
    assert opened == [("runner", "train", False), ("report", "test", True)]


def test_no_test_row_is_in_the_folder_that_the_workers_read(whole):
    mlruns = whole[0] / "mlruns"
    (rows,) = mlruns.glob("cache/rows-*")
    assert sorted(path.name for path in rows.iterdir()) == ["X.npy", "y.npy"]
    assert not list(mlruns.rglob("test_rows*"))


def test_figures_and_pages_are_mlflows_artifacts(whole):
    folder, outcome = whole
    (page,) = folder.glob("mlruns/artifacts/*/artifacts/report.html")
    assert page.read_text() == (outcome.folder / "report.html").read_text()
    names = sorted(path.name for path in (outcome.folder / "figures").iterdir())
    assert {"anytime.svg", "confusion_ensemble.csv", "mistakes.svg"} <= set(names)
    assert sorted(path.name for path in (page.parent / "figures").iterdir()) == names


def test_the_report_says_what_an_ensemble_would_have_reached_before(whole):
    findings = whole[1].findings
    first = min((trial for trial in findings.trials if trial.status == "complete"), key=lambda trial: trial.ended)
    assert findings.so_far[0] == (first.ended, pytest.approx(first.accuracy))
    assert [seconds for seconds, _ in findings.so_far] == sorted({seconds for seconds, _ in findings.so_far})


def test_a_damaged_trial_that_is_no_member_does_not_cost_the_report(copied):
    worst = min((t for t in copied.findings.trials if t.status == "complete"), key=lambda trial: trial.accuracy)
    (copied.folder / "trials" / worst.study / str(worst.number) / PROBABILITIES).write_bytes(b"damaged")
    found = runner.rewrite_report("tiny")
    assert (found.ensemble.name, len(found.trials)) == ("ensemble", 9)


def test_the_report_says_which_parameters_mattered(whole):
    outcome = whole[1]
    found = outcome.findings.importances["bayes"]
    assert found.n_trials == 9
    assert found.shares == {"model__var_smoothing": 1.0}
    assert found.searched == {"model__var_smoothing": True}
    assert (outcome.folder / "figures" / "slices_bayes.svg").exists()


def test_a_support_vector_machine_alone_shows_where_it_looked_and_can_be_loaded(arena):
    arena("studies/svm.toml", SVM)
    arena("benchmarks/lone.toml", BENCHMARK.replace("bayes", "svm"))
    outcome = runner.run_benchmark("lone", trials=1, progress=Progress())
    single = outcome.findings
    assert single.choice.name == "svm"  # the ensemble of this one model can be no better
    path = re.fullmatch(r'fmnist_bench\.load_model\("(.+)"\)', single.how_to_open["Best single model"])[1]
    model, test = load_model(Path(path)), load_dataset("digits", "test")
    np.testing.assert_allclose(model.predict_proba(test.X), single.choice.test_probabilities, atol=5e-4)
    (maps,) = single.occlusions.values()
    assert 0 < len(maps) <= 6
    for one, found in maps:
        without = model.predict_proba(hidden(single.image(one.row)).reshape(49, -1))[:, one.predicted]
        np.testing.assert_allclose(found.ravel(), one.confidence - without, atol=1e-3)
    page = (outcome.folder / "report.html").read_text()
    assert page.count("Where svm looked in row") == len(maps)
    assert "opened after the ensemble was fixed: once for this run" in page


def test_workers_of_members_wait_for_the_maps_and_start_once(copied, monkeypatch):
    monkeypatch.setattr(predictions, "SPARE_MEMORY", 0)
    monkeypatch.setattr(predictions, "used_gpus", list)
    for path in copied.folder.glob(f"trials/bayes/*/{TEST_PROBABILITIES}"):
        path.unlink()
    members = [member[:2] for member in copied.findings.members]
    with open_folder(copied.folder) as run, opening.open_test_set(run) as opened:
        assert opened.models.seconds(members, 0) == 0.0  # none has to be started
    assert predictions.Models(run).seconds(members, 0) > 0.0


def test_maps_are_left_out_where_no_time_is_left_and_the_page_says_so(copied):
    with open_folder(copied.folder) as run, opening.open_test_set(run) as opened:
        found = write_report(run, opened, run.state["environment"], left=lambda: 0.0)
    page = (copied.folder / "report.html").read_text()
    assert copied.findings.occlusions and not found.occlusions
    assert "and 0 s were left" in page
    assert "opened after the ensemble was fixed: 2 times for this run" in page


def test_the_ensemble_uncalibrated_is_the_mean_of_calibrated_members(whole):
    found, ensemble = whole[1].findings, load_ensemble(whole[1].folder / "ensemble")
    pairs = zip(ensemble.members_, ensemble.member_temperatures_, strict=True)
    members = np.stack([with_temperature(member.predict_proba(found.X), t) for (_, member), t in pairs])
    np.testing.assert_allclose(found.uncalibrated, np.average(members, axis=0, weights=ensemble.weights_), atol=5e-3)


def test_models_that_were_changed_are_given_up_when_the_report_needs_them(copied):
    for path in copied.folder.glob(f"trials/bayes/*/{TEST_PROBABILITIES}"):
        path.unlink()
    for path in copied.folder.glob("trials/bayes/*/model.skops"):
        path.write_bytes(b"not a model")
    findings = runner.rewrite_report("tiny")
    assert findings.ensemble is None
    assert {member[:2] for member in copied.findings.members} <= {
        (name, number) for name, number, _ in findings.given_up
    }
    assert all("the saved model: not a readable model file" in reason for *_, reason in findings.given_up)


def odd(kind):
    return f'[model]\nuse = "troublemakers.Odd"\nkind = "{kind}"\n'


THREE = 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["bayes", "nan", "dies"]\n'


def told(folder):
    """Both reports, in lines as a reader sees them."""
    return [" ".join((folder / name).read_text().split()) for name in ("report.md", "report.html")]


def test_members_that_fail_on_test_rows_alone_are_given_up(arena, place):
    """It ended the run after the whole budget, the ensemble with it registered already."""
    reasons = {"nan": "predicts probabilities that are not finite", "dies": "killed by SIGKILL"}
    for kind in reasons:
        arena(f"studies/{kind}.toml", odd(f"test_{kind}"))
    arena("benchmarks/three.toml", THREE)
    outcome = runner.run_benchmark("three", progress=Progress(), allow_import=("troublemakers",))
    findings = outcome.findings
    assert {who.name: who.scored for who in findings.everyone} == {
        "ensemble": True,
        "bayes": True,
        "nan": False,
        "dies": False,
    }
    given_up = {study: reason for study, _, reason in findings.given_up}
    assert given_up.keys() == reasons.keys()
    assert all(reason in given_up[study] for study, reason in reasons.items())
    assert {row.study: row.status for row in findings.failed} == dict.fromkeys(reasons, "failed")
    assert all(row.reason.startswith("given up at the end: ") for row in findings.failed)
    assert {study for study, *_ in findings.members} == {"bayes"}
    ensemble = load_ensemble(outcome.folder / "ensemble")
    np.testing.assert_allclose(ensemble.predict_proba(findings.X), findings.ensemble.test_probabilities, atol=5e-3)
    for text in told(outcome.folder):
        assert "Given up at the end" in text
        assert all(reason in text for reason in reasons.values())
    models = MlflowClient(Store("mlruns").tracking_uri).search_model_versions()
    assert len(models) == 1, "what cannot predict is not registered"
    assert "Serve" in findings.how_to_open
    again = runner.rewrite_report("three", allow_import=("troublemakers",))
    assert again.given_up == findings.given_up
    assert np.array_equal(again.ensemble.test_probabilities, findings.ensemble.test_probabilities)


@pytest.mark.slow
def test_a_model_of_scikit_learn_that_fails_on_test_rows_alone_is_given_up(arena):
    arena("studies/knn.toml", '[model]\nuse = "sklearn.neighbors.KNeighborsClassifier"\n')
    arena("studies/radius.toml", '[model]\nuse = "sklearn.neighbors.RadiusNeighborsClassifier"\nradius = 480.0\n')
    arena("b.toml", 'seed = 1\ndata = "digits"\nvalid_size = 300\ntrials = 1\nstudies = ["knn", "radius"]\n')
    findings = runner.run_benchmark("b.toml", progress=Progress()).findings
    assert findings.ensemble.scored
    assert [(study, "No neighbors found" in reason) for study, _, reason in findings.given_up] == [("radius", True)]


def test_the_next_best_trial_stands_for_one_that_was_damaged_since(place, monkeypatch, no_figures):
    """Each damage costs one trial, wherever it is found: when the ensemble is chosen, or when it predicts."""
    said, choose = [], session.choose_ensemble

    def damage_and_choose(run, records, *rest):
        first, second, third = (run.trial_folder(r.study, r.number) for r in records)
        (first / PROBABILITIES).write_bytes((first / PROBABILITIES).read_bytes()[:1000])
        shutil.copy(third / MODEL, second / MODEL)
        choose(run, records, *rest)

    class Heard(Progress):
        def message(self, text):
            said.append(text)

    arena_study = place.parent.parent / "studies" / "bayes.toml"
    arena_study.write_text(STUDY.replace("1e-9", "1e-3").replace("1e-1", "1e4"))
    monkeypatch.setattr(session, "choose_ensemble", damage_and_choose)
    outcome = runner.run_benchmark("tiny", trials=3, progress=Heard())
    assert len(outcome.findings.given_up) == 2
    assert outcome.findings.contestants[0].trial == outcome.findings.members[0][1]
    assert len(outcome.findings.members) == 1
    assert sum("is given up: valid_probabilities.npy cannot be read" in text for text in said) == 1
    assert sum("is given up: predicts something else after it was saved and loaded" in text for text in said) == 1


def test_where_no_trial_is_left_the_report_says_so(arena, place):
    arena("studies/nan.toml", odd("test_nan"))
    arena("benchmarks/lone.toml", THREE.replace('["bayes", "nan", "dies"]', '["nan"]'))
    outcome = runner.run_benchmark("lone", progress=Progress(), allow_import=("troublemakers",))
    assert outcome.findings.ensemble is None
    assert outcome.findings.choice is None
    assert all("Given up at the end" in text for text in told(outcome.folder))


def test_test_predictions_that_are_damaged_are_made_again(copied):
    for path in copied.folder.glob(f"trials/bayes/*/{TEST_PROBABILITIES}"):
        path.write_bytes(path.read_bytes()[:200])
    again = runner.rewrite_report("tiny")
    assert again.given_up == ()
    assert np.array_equal(again.ensemble.test_probabilities, copied.findings.ensemble.test_probabilities)
