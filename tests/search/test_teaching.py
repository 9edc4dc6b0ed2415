"""The ensemble of a run teaches a small network: the whole of it on digits once, and the arithmetic of its time."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from places import furnish

from fmnist_bench import load_ensemble, run_benchmark
from fmnist_bench.cli import main
from fmnist_bench.config.study import DistillConfig, SearchSpace, Spec
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.rechoose import choose_offline
from fmnist_bench.progress.displays import Progress
from fmnist_bench.search.allocation import Clock
from fmnist_bench.search.teaching import LEAST_SECONDS, Teaching
from fmnist_bench.storage.find_runs import open_folder
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial

FILES = {
    "studies/trees.toml": '[model]\nuse = "sklearn.ensemble.ExtraTreesClassifier"\nn_estimators = 40\n'
    '[augment]\nuse = "troublemakers.Copyist"\nratio = 0.1\n',
    "studies/tiny.toml": '[model]\nuse = "fmnist_bench.models.CNNClassifier"\nn_convs = 2\nfilters = 16\n'
    "batch_size = 32\nepochs = 6\nflip = false\n",
    "benchmarks/taught.toml": 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["trees"]\n'
    '[distill]\nstudent = "tiny"\nsynthetic = true\n',
}
ALLOWED = {"allow_import": ("troublemakers",), "progress": Progress()}
STUDENTS = ("distilled", "undistilled", "distilled+synthetic")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, empty_database):
    """The folder in which the benchmark has run once, and what came of it."""
    folder = furnish(tmp_path_factory.mktemp("taught"), empty_database, FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, run_benchmark("taught", **ALLOWED)


@pytest.fixture
def taught(whole, monkeypatch):
    """What came of it, in its folder."""
    monkeypatch.chdir(whole[0])
    return whole[1]


# Slow: three networks are trained and predict the test rows.
@pytest.mark.slow
def test_students_are_rows_beside_their_teacher(taught):
    findings = taught.findings
    assert findings.students == STUDENTS
    scores = {who.name: findings.scores(who) for who in findings.everyone}
    assert all(scores[name]["test_accuracy"] > 0.85 for name in STUDENTS), "one of them made three epochs alone"
    trials = {trial.study: trial for trial in findings.trials if trial.study in STUDENTS}
    assert [(trial.phase, trial.default) for trial in trials.values()] == [("distill", "tiny")] * 3
    assert [trials[name].fidelity["model__epochs"] for name in STUDENTS] == [6, 6, 3], "as many steps"
    assert len(trials["distilled"].history["step"]) == 6
    assert not {study for study, *_ in findings.members} & set(STUDENTS)
    page = (taught.folder / "report.md").read_text()
    for words in ("## Distillation", "| ensemble (teacher) |", "images of the GAN of trees+copyist"):
        assert words in page
    assert not (taught.folder / "lessons").exists()


@pytest.mark.slow
def test_what_a_student_learns_is_the_teachers_answers(taught):
    with open_folder(taught.folder) as run:
        probabilities = [run.valid_probabilities(name, 0) for name in ("distilled", "undistilled")]
    surest = [each.max(axis=1).mean() for each in probabilities]
    assert surest[0] != surest[1], "the twin has the same seed: its lesson alone is another one"


@pytest.mark.slow
def test_the_taught_network_is_loaded_and_exported_by_itself(taught, capsys):
    test = load_dataset("digits", "test")
    student = load_ensemble(taught.folder / "distilled")
    assert [name for name, _ in student.members_] == ["distilled-0"]
    findings = taught.findings
    (row,) = (findings.scores(who) for who in findings.contestants if who.name == "distilled")
    assert student.score(test.X, test.y) == pytest.approx(row["test_accuracy"])
    assert "Distilled network" in findings.how_to_open
    assert main(["export", str(taught.folder / "distilled"), "--out", "student.onnx"]) == 0
    assert "agrees with the original" in capsys.readouterr().out


@pytest.mark.slow
def test_an_ensemble_that_is_chosen_again_leaves_students_out(taught):
    with open_folder(taught.folder) as run:
        assert not {record.study for record in choose_offline(run, "mean").members} & set(STUDENTS)
        assert [record.study for record in choose_offline(run, studies=["distilled"]).members] == ["distilled"]


@pytest.mark.slow
def test_an_ensemble_teaches_once_and_another_one_anew(taught):
    record, state = taught.folder / "trials/distilled/0/trial.json", taught.folder / "run.json"
    before = record.stat().st_mtime_ns
    assert run_benchmark("taught", **ALLOWED).folder == taught.folder
    assert record.stat().st_mtime_ns == before
    state.write_text(json.dumps(json.loads(state.read_text()) | {"distillation": {"teacher": "another one"}}))
    run_benchmark("taught", **ALLOWED)
    assert record.stat().st_mtime_ns > before


def teaching(budget, share=0.2, synthetic=False, counted=False):
    """What teaches in a run of 1,000 train and 100 validation rows."""
    split = SimpleNamespace(train=np.arange(1000), validation=np.arange(100))
    phases, settings = SimpleNamespace(is_counted=counted), SimpleNamespace(split=split)
    search = SimpleNamespace(run=None, clock=Clock(budget), settings=settings, phases=phases)
    student = SearchSpace("tiny", Spec("fmnist_bench.models.CNNClassifier", {"epochs": 7}))
    return Teaching(search, DistillConfig(student, share, synthetic), None)


def test_time_is_kept_aside_for_students_and_for_what_the_teacher_says():
    assert teaching(1000.0).seconds([]) == pytest.approx(200.0, abs=60.0)
    member = TrialResult("complete", accuracy=0.9, log_loss=1.0, predict_seconds=3.0)
    records = [Trial("forest", 0, seconds=5.0, result=member)]
    answers = [each.seconds(records) - each.seconds([]) for each in (teaching(1e3), teaching(1e3, synthetic=True))]
    assert answers[0] >= 30.0 and answers[1] >= 60.0, "ten and twenty times the validation rows"


def test_no_time_is_taken_from_the_search_where_it_would_not_suffice_to_teach():
    assert teaching(90.0).seconds([]) == 0.0 < teaching(110.0).seconds([])


def test_students_share_what_is_left_in_equal_parts():
    assert teaching(1000.0)._each(0.0, 2) == pytest.approx(100.0)
    assert teaching(1000.0)._each(0.0, 1) == pytest.approx(100.0), "one that a kill has cost gets no more"
    assert teaching(1000.0)._each(900.0, 2) < 50.0, "the report comes first"
    assert teaching(None, counted=True)._each(20.0, 2) is None
    short = teaching(1000.0, share=0.001)
    assert f"at least {LEAST_SECONDS:.0f} s are needed" in short._too_short(short._each(0.0, 2))
    assert not teaching(None, counted=True)._too_short(None)


def test_without_a_budget_students_make_equally_many_steps():
    counted = teaching(None, counted=True, synthetic=True)
    distilled, undistilled, synthetic = counted.config.students
    assert [counted._epochs(each, {}) for each in (distilled, undistilled, synthetic)] == [
        *[{"model__epochs": 7}] * 2,
        {"model__epochs": 3},
    ]
    assert teaching(60.0)._epochs(distilled, {})["model__epochs"] > 100, "the clock ends it"
