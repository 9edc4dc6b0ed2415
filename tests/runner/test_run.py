import contextlib
import json
import os
import pty
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from fmnist_bench import load_ensemble, run_benchmark
from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_benchmark
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.readers.idx import IDX_FILES
from fmnist_bench.models.saved import load_model
from fmnist_bench.progress.displays import PlainLines, Progress
from fmnist_bench.report.compare import compare_runs
from fmnist_bench.report.rechosen import rechoose
from fmnist_bench.runner import check_benchmark, rewrite_report
from fmnist_bench.runner.arguments import with_overrides
from fmnist_bench.runner.session import Session
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Store
from fmnist_bench.storage.trial import TRAIN
from fmnist_bench.storage.trial_folder import MODEL, TEST_PROBABILITIES

PATHS = os.pathsep.join([str(folder) for folder in Path(__file__).parents[2:0:-1]])  # the checkout's, and the tests'
BENCHMARK = """
data = "digits"
valid_size = 0.2
trials = 3
studies = ["forest", "bayes"]
"""
FOREST = """
[model]
use = "sklearn.ensemble.RandomForestClassifier"
n_estimators = { low = 5, high = 40 }
max_features = { low = 0.05, high = 0.5 }
[[default]]
n_estimators = 20
max_features = 0.1
"""
BAYES = """
[model]
use = "sklearn.naive_bayes.GaussianNB"
var_smoothing = { low = 1e-9, high = 1e-1, log = true }
"""
TROUBLE = """
[model]
use = "troublemakers.Trouble"
kind = "{kind}"
seconds = {seconds}
number = {{ low = 0, high = 1000000 }}
"""


FILES = {"studies/forest.toml": FOREST, "studies/bayes.toml": BAYES, "benchmarks/tiny.toml": BENCHMARK}


@pytest.fixture
def place(arena, tmp_path, no_figures):
    """A folder with a small benchmark that has not run."""
    for name, text in FILES.items():
        arena(name, text)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory, empty_database):
    """The folder in which the small benchmark has run once, and what came of it."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("studies", "benchmarks", "mlruns"):
        (folder / name).mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    shutil.copy(empty_database, folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, run_benchmark("tiny", progress=Progress())


@pytest.fixture
def finished(whole, monkeypatch):
    """What came of the small benchmark, in its folder, for those who change nothing of it."""
    monkeypatch.chdir(whole[0])
    return whole[1]


@pytest.fixture
def copied(whole, tmp_path, monkeypatch, no_figures):
    """The same in a copy of its folder, for those who go on with it."""
    folder, outcome = whole
    copy = shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(copy)
    return replace(outcome, folder=copy / outcome.folder.relative_to(folder))


def rows(folder):
    """Every trial record of a run, without what differs from one run to another."""
    found = {}
    for path in sorted(Path(folder).glob("trials/*/*/trial.json")):
        record = json.loads(path.read_text())
        result = record["result"]
        found[record["study"], record["number"]] = (record["parameters"], result["status"], result["accuracy"])
    return found


def test_from_nothing_to_an_ensemble(finished):
    assert len(rows(finished.folder)) == 6
    assert len(repr(finished)) < 300, "the last line of a notebook's cell shows it"
    findings = finished.findings
    assert {who.name for who in findings.contestants} == {"forest", "bayes"}
    assert findings.scores(findings.ensemble)["test_accuracy"] > 0.9
    for name in ("report.html", "report.md"):
        assert "forest" in (finished.folder / name).read_text()
    kept = list(finished.folder.glob(f"trials/*/*/{MODEL}"))
    assert len(kept) == 6 and all((path.parent / TEST_PROBABILITIES).is_file() for path in kept)

    test = load_dataset("digits", "test")
    ensemble = load_ensemble(finished.folder / "ensemble")
    assert np.allclose(ensemble.predict_proba(test.X), findings.ensemble.test_probabilities, atol=5e-3)


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(copied):
    again = run_benchmark("tiny", progress=Progress(), fresh=True)
    other = run_benchmark("tiny", progress=Progress(), seed=1, trials=1)
    assert len({copied.folder, again.folder, other.folder}) == 3
    assert rows(copied.folder) == rows(again.folder)
    assert rows(copied.folder)["bayes", 0] != rows(other.folder)["bayes", 0]
    assert np.array_equal(copied.findings.ensemble.test_probabilities, again.findings.ensemble.test_probabilities)


@pytest.mark.slow
def test_an_augmentation_with_a_range_repeats_bit_for_bit(arena):
    study = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 1e-1, log = true }\n'
    half_open = "[[default]]\nvar_smoothing = 1e-3\n"
    augment = '[augment]\nuse = "troublemakers.Doubler"\nratio = { low = 0.1, high = 1.0 }\n'
    arena("studies/open.toml", study + augment + half_open)
    arena("b.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 3\nstudies = ["open"]\n')
    options = {"workers": 1, "seed": 7, "fresh": True, "allow_import": ["troublemakers"], "progress": Progress()}
    first, second = (rows(run_benchmark("b.toml", **options).folder) for _ in range(2))
    assert first == second
    assert len({parameters.get("augment__ratio") for parameters, *_ in first.values()}) > 2


def test_going_on_repeats_nothing_and_keeps_the_best_three_models(copied):
    before = {path: path.stat().st_mtime_ns for path in copied.folder.glob("trials/*/*/trial.json")}
    again = run_benchmark("tiny", progress=Progress())
    assert again.folder == copied.folder
    assert {path: path.stat().st_mtime_ns for path in copied.folder.glob("trials/*/*/trial.json")} == before
    more = run_benchmark("tiny", progress=Progress(), trials=5)
    assert more.folder == copied.folder
    assert len(rows(more.folder)) == 10
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for study in ("forest", "bayes"):
        accuracies = {number: accuracy for (name, number), (*_, accuracy) in rows(more.folder).items() if name == study}
        kept = {int(path.parent.name) for path in more.folder.glob(f"trials/{study}/*/model.skops")}
        assert len(kept) == 3
        assert min(accuracies[n] for n in kept) >= max(a for n, a in accuracies.items() if n not in kept)


def test_the_ensemble_keeps_to_a_latency(copied):
    state = json.loads((copied.folder / "run.json").read_text())
    costs = {(study, number): cost for study, number, cost, _ in state["latency"]["models"]}
    assert len(costs) == 6 and min(costs.values()) > 0
    assert state["latency"]["ensemble"][0] == pytest.approx(sum(costs[study, n] for study, n, *_ in state["members"]))
    limit = 1.01 * min(costs.values())
    fast = run_benchmark("tiny", progress=Progress(), max_latency=limit)
    assert fast.folder == copied.folder, "the search goes on; the ensemble alone is chosen anew"
    state = json.loads((fast.folder / "run.json").read_text())
    assert 0 < state["latency"]["ensemble"][0] <= limit == state["latency"]["limit"]
    assert state["latency"]["ensemble"][1] == pytest.approx(
        fast.findings.scores(fast.findings.ensemble)["valid_accuracy"]
    )
    assert len(load_ensemble(fast.folder / "ensemble").members_) == len(state["members"])
    assert (copied.findings.max_latency, fast.findings.max_latency) == (None, limit)
    assert f"{limit:g} ms a row" in (fast.folder / "report.md").read_text()


@pytest.mark.slow
def test_where_no_model_is_fast_enough_the_fastest_is_taken_and_it_is_said(copied, capsys):
    outcome = run_benchmark("tiny", progress=PlainLines(), max_latency=1e-9)
    assert "1e-09 ms a row, which no model keeps: the fastest takes" in (outcome.folder / "report.md").read_text()
    assert "No model predicts a row in 1e-09 ms; the fastest takes" in capsys.readouterr().out
    state = json.loads((outcome.folder / "run.json").read_text())
    assert len(state["members"]) == 1
    assert state["latency"]["ensemble"][0] == min(cost for _, _, cost, _ in state["latency"]["models"])


def test_mlflow_holds_benchmark_studies_and_trials_nested(finished):
    client = MlflowClient(Store("mlruns").tracking_uri)
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id])
    by_level = {
        level: [run for run in runs if run.data.tags["level"] == level] for level in ("benchmark", "study", "trial")
    }
    assert [len(by_level[level]) for level in ("benchmark", "study", "trial")] == [1, 2, 6]
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert {parents[run.info.run_id] for run in by_level["study"]} == {by_level["benchmark"][0].info.run_id}
    assert {parents[run.info.run_id] for run in by_level["trial"]} == {run.info.run_id for run in by_level["study"]}
    trial = next(run for run in by_level["trial"] if run.info.run_name == "forest 0")
    assert trial.data.params["model__n_estimators"] == "20"
    assert trial.data.tags["status"] == "complete"
    assert trial.info.status == "FINISHED"
    assert 0.8 < trial.data.metrics["valid_accuracy"] <= 1
    assert {item.path for item in client.list_artifacts(trial.info.run_id)} >= {
        "valid_probabilities.npy",
        "model.skops",
    }
    names = {item.path for item in client.list_artifacts(by_level["benchmark"][0].info.run_id)}
    assert {"report.html", "report.md"} <= names


@pytest.mark.slow
def test_a_model_with_early_stopping_reports_its_curve(arena):
    arena("b.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["cnn", "xgboost"]\n')
    arena(
        "studies/cnn.toml",
        '[model]\nuse = "fmnist_bench.models.CNNClassifier"\nn_convs = 2\nfilters = 8\nepochs = 3\n',
    )
    outcome = run_benchmark("b.toml", progress=Progress())
    curves = {trial.study: trial.history for trial in outcome.findings.trials}
    assert len(curves["cnn"]["valid_accuracy"]) == 3
    assert len(curves["xgboost"]["valid_accuracy"]) > 1
    client = MlflowClient(Store("mlruns").tracking_uri)
    runs = client.search_runs(
        [client.get_experiment_by_name("b").experiment_id], "tags.study = 'cnn' and tags.level = 'trial'"
    )
    for name in ("fit_loss", "fit_accuracy", "valid_loss", "valid_accuracy"):
        curve = client.get_metric_history(runs[0].info.run_id, f"curve_{name}")
        assert [point.step for point in curve] == [1, 2, 3]
        assert [point.value for point in curve] == curves["cnn"][name]
    assert "on validation rows; dashed: on train rows" in (outcome.folder / "report.html").read_text()
    assert (outcome.folder / "figures/loss.svg").exists()


def test_the_folder_of_weights_reaches_the_trial(arena, tmp_path):
    (tmp_path / "weights").mkdir()
    arena("b.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["own"]\n')
    arena("studies/own.toml", '[model]\nuse = "troublemakers.Pretrained"\n')
    allowed = {"allow_import": ("troublemakers",)}
    outcome = run_benchmark("b.toml", progress=Progress(), weights=tmp_path / "weights", **allowed)
    (trial,) = outcome.findings.trials
    assert trial.status == "no_weights"
    assert f"none in {tmp_path / 'weights'}" in trial.reason


def start(place, *arguments, **environment):
    command = [sys.executable, "-m", "fmnist_bench", *arguments]
    env = {**os.environ, "PYTHONPATH": PATHS, **environment}
    return subprocess.Popen(command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_records(place, n, process):
    deadline = time.monotonic() + 600
    while len(list(Path(place).glob("mlruns/runs/*/trials/*/*/trial.json"))) < n:
        assert time.monotonic() < deadline, "no progress"
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_at_ten_moments_it_ends_as_if_nothing_had_happened(place):
    arguments = ("run", "tiny", "--workers", "1", "--trials")
    reference = run_benchmark("tiny", progress=Progress(), trials=12, workers=1)
    shutil.move("mlruns/runs", "reference")
    for n in (1, 4):
        process = start(place, *arguments, "3")
        wait_for_records(place, n, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [row.status for row in compare_runs(["mlruns"]).rows] == ["not finished"]
    assert "not opened now, 0 times before" in rechoose("tiny")
    moments = random.Random(0)
    for n in range(4, 12):
        process = start(place, *arguments, str(n))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(1.0, 6.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in Path(place).glob("mlruns/runs/*/trials/*/*/trial.json")}
    process = start(place, *arguments, "12")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    folder = next(Path(place).glob("mlruns/runs/*"))
    assert all(path.stat().st_mtime_ns == t for path, t in before.items())
    answers = lambda found: sorted(  # noqa: E731
        (study, json.dumps(p, sort_keys=True), accuracy)
        for (study, _), (p, s, accuracy) in found.items()
        if s == "complete"
    )
    assert answers(rows(folder)) == answers(rows(place / "reference" / reference.folder.name))
    with sqlite3.connect(Path(place) / "mlruns" / "mlflow.db") as database:
        left = database.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'")
        assert left.fetchone() == (0,)


NETWORK = """
[model]
use = "fmnist_bench.models.CNNClassifier"
n_convs = 2
filters = 8
epochs = 1
learning_rate = { low = 0.05, high = 0.4, log = true }
[fidelity]
rows = [0.9, 1.0]
epochs = [10, 2000]
[[default]]
learning_rate = 0.1
"""


@pytest.mark.slow
def test_a_network_that_was_killed_in_training_goes_on_where_it_was(place, arena):
    arena("studies/net.toml", NETWORK)
    arena("benchmarks/net.toml", 'data = "digits"\nvalid_size = 0.2\nbudget = "3m"\nstudies = ["net"]\n')
    command = ("run", "net", "--workers", "2")
    process = start(place, *command)
    deadline = time.monotonic() + 600
    while len(list(Path(place).glob("mlruns/runs/*/checkpoints/net-*.npz"))) < 2:  # a network a worker
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = Path(place).glob("mlruns/runs/*")
    before = []
    for path in folder.glob("checkpoints/*.npz"):
        with np.load(path) as checkpoint:
            before.append(json.loads(str(checkpoint["position"]))["history"]["valid_loss"])
    output, _ = start(place, *command).communicate(timeout=600)
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("trials/net/*/trial.json"))]
    trained = [record["result"] for record in records if record["phase"] == "train"]
    planned = json.loads((folder / "run.json").read_text())["networks"]  # in one round of two, or in two
    assert sorted(r["status"] for r in trained) == ["complete"] * len(planned) + ["interrupted"] * 2, output
    after = [result["history"]["valid_loss"] for result in trained if result["status"] == "complete"]
    for losses in before:
        assert any(len(longer) > len(losses) > 0 and longer[: len(losses)] == losses for longer in after)
    assert list(folder.glob("checkpoints/*")) == []


@pytest.mark.slow
def test_a_network_that_trains_long_learns_from_the_validation_rows_in_the_end(place, arena):
    arena("studies/net.toml", NETWORK)
    arena("benchmarks/net.toml", 'data = "digits"\nvalid_size = 0.2\nbudget = "4m"\nstudies = ["net"]\n')
    outcome = run_benchmark("net", progress=Progress())
    trained = [trial.result for trial in outcome.findings.trials if trial.phase == TRAIN and trial.is_complete]
    assert {result.fine_tuned for result in trained} == {0.25}, "a fifth of the rows are validation rows"
    assert outcome.findings.given_up == (), "the saved model is another one than that which was scored"
    report = (outcome.folder / "report.md").read_text()
    assert "At the end, trained networks of net also learnt from the validation rows" in report
    assert list(outcome.folder.glob("checkpoints/*")) == []


def test_official_validation_rows_only_choose(arena, digits, split):
    arena("studies/net.toml", NETWORK)
    arena("benchmarks/net.toml", 'data = "digits"\nstudies = ["net"]\n')
    for official, words, gives_back in [(None, {}, True), (split, {}, False), (None, {"refit": "no"}, False)]:
        benchmark, dataset = with_overrides(load_benchmark("net"), **words), replace(digits, official_split=official)
        session = Session(benchmark, dataset, split, None, None, None, None, None)
        assert session._gives_rows_back == gives_back


SLOW = 'data = "digits"\nvalid_size = 0.2\nbudget = "10m"\nstudies = ["slow", "forest"]\n'


def test_ctrl_c_once_goes_on_to_ensemble_and_report(place, arena):
    class Impatient(Progress):
        def trial_ended(self, study, number, *_):
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)

    arena("studies/slow.toml", TROUBLE.format(kind="none", seconds=1.0))
    arena("benchmarks/slow.toml", SLOW)
    outcome = run_benchmark("slow", progress=Impatient(), allow_import=("troublemakers",))
    assert outcome.seconds < 120, "of the ten minutes"
    assert outcome.findings.ensemble is not None
    assert (outcome.folder / "report.html").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_the_search_alone(place, arena):
    arena("studies/slow.toml", TROUBLE.format(kind="none", seconds=0.3))
    arena("benchmarks/slow.toml", SLOW)
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started by nohup
        os.chdir(place)
        os.environ["PYTHONPATH"] = PATHS
        command = ["-m", "fmnist_bench", "run", "slow", "--allow-import", "troublemakers"]
        os.execv(sys.executable, [sys.executable, *command])
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: _read(terminal), b"")], daemon=True)
    reader.start()
    deadline = time.monotonic() + 600
    while len(list(place.glob("mlruns/runs/slow-*/trials/*/*/trial.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.close(terminal)  # the kernel sends SIGHUP, and whoever writes to the terminal gets an error
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    folder = next(place.glob("mlruns/runs/slow-*"))
    assert (folder / "report.html").exists()
    assert {status for _, status, _ in rows(folder).values()} <= {"complete", "interrupted"}


def _read(terminal):
    try:
        return os.read(terminal, 10_000)
    except OSError:
        return b""


def test_a_cache_that_is_deleted_meanwhile_costs_no_trial(place):
    class Deleter(Progress):
        def trial_ended(self, study, number, *_):
            if number == 0:
                shutil.rmtree(place / "mlruns" / "cache")

    outcome = run_benchmark("tiny", progress=Deleter(), workers=1, trials=2)
    assert [status for _, status, _ in rows(outcome.folder).values()] == ["complete"] * 4


def test_a_budget_ends_search_ensemble_and_report_in_time(place, arena):
    arena("benchmarks/timed.toml", BENCHMARK.replace("trials = 3", 'budget = "25s"'))
    outcome = run_benchmark("timed", progress=Progress())
    assert outcome.seconds < 120, "of a search that would not end"
    assert outcome.findings.ensemble is not None


def test_troubled_studies_are_rows_with_reasons_and_the_benchmark_goes_on(arena, place):
    kinds = ("raise", "segfault", "nan")
    for kind in kinds:
        arena(f"studies/{kind}.toml", TROUBLE.format(kind=kind, seconds=0.0))
    arena("b.toml", BENCHMARK.replace('["forest", "bayes"]', json.dumps(["forest", *kinds])))
    outcome = run_benchmark("b.toml", progress=Progress(), trials=1, allow_import=("troublemakers",))
    failed = {trial.study: trial for trial in outcome.findings.trials if trial.study in kinds}
    assert {kind: trial.status for kind, trial in failed.items()} == {
        "raise": "failed",
        "segfault": "crashed",
        "nan": "failed",
    }
    assert failed["segfault"].history == {"step": [1.0], "valid_accuracy": [0.3]}, "what it said before it died"
    assert outcome.findings.ensemble is not None
    report = (outcome.folder / "report.md").read_text()
    assert all(trial.reason and trial.reason.split(" ")[0] in report for trial in failed.values())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "status"), [("hang", "timeout"), ("eat", "out_of_memory")])
def test_a_study_that_takes_too_much_is_stopped_and_the_benchmark_goes_on(arena, place, kind, status, monkeypatch):
    monkeypatch.setattr("fmnist_bench.search.phases.LEAST_LIMIT", 4.0)
    monkeypatch.setattr("fmnist_bench.trials.local.available_memory", lambda: 2**31)
    arena("studies/bad.toml", TROUBLE.format(kind=kind, seconds=0.0))
    arena("b.toml", BENCHMARK.replace("bayes", "bad").replace("trials = 3", 'budget = "30s"'))
    outcome = run_benchmark("b.toml", progress=Progress(), workers=2, allow_import=("troublemakers",))
    bad = [trial for trial in outcome.findings.trials if trial.study == "bad"]
    assert status in {trial.status for trial in bad} <= {status, "timeout"}
    assert all("limit" in trial.reason for trial in bad)
    assert outcome.findings.ensemble is not None


@pytest.mark.slow
def test_when_every_trial_fails_the_report_says_so(arena):
    arena("studies/bad.toml", TROUBLE.format(kind="raise", seconds=0.0))
    arena("b.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["bad"]\n')
    outcome = run_benchmark("b.toml", progress=Progress(), allow_import=("troublemakers",))
    assert outcome.findings.ensemble is None
    assert "no luck today" in (outcome.folder / "report.md").read_text()


@pytest.mark.slow
def test_a_study_runs_with_every_combination_of_its_augmentations(arena, place):
    tables = '[[augment]]\nuse = "troublemakers.{}"\nratio = 0.5\n'
    arena("studies/forest.toml", FOREST + tables.format("Doubler") + tables.format("Copyist"))
    outcome = run_benchmark("tiny", progress=Progress(), trials=1, allow_import=("troublemakers",))
    found = {trial.study for trial in outcome.findings.trials if trial.status == "complete"}
    assert found == {"forest", "forest+doubler", "forest+copyist", "forest+doubler+copyist", "bayes"}
    pipeline = load_model(outcome.folder / "trials/forest+doubler+copyist/0/model.skops", ("troublemakers",))
    assert [name for name, _ in pipeline.augment.samplers] == ["doubler", "copyist"]


COPYIST = '[augment]\nuse = "troublemakers.Copyist"\nratio = {{ low = 0.1, high = 1.0 }}\ntalent = {talent}\n'


@pytest.mark.slow
def test_an_augmentation_learns_once_and_starts_from_the_best_without_it(arena, place):
    arena("studies/forest.toml", FOREST + COPYIST.format(talent="true"))
    outcome = run_benchmark("tiny", progress=Progress(), trials=3, workers=2, allow_import=("troublemakers",))
    with open_folder(newest_run("tiny", "mlruns")) as run:
        plain, augmented = run.records("forest"), run.records("forest+copyist")
    learnt, *trials = augmented
    assert (learnt.number, learnt.result.status, learnt.result.history["fidelity"]) == (-1, "prepared", [0.9])
    assert [record.status for record in trials] == ["complete"] * 3, trials
    sibling = plain[int(trials[0].default.removeprefix("forest "))]
    shared = {name: trials[0].parameters[name] for name in sibling.parameters}
    assert shared == sibling.parameters
    assert 0.1 <= trials[0].parameters["augment__ratio"] <= 1
    report = (outcome.folder / "report.html").read_text()
    assert "outside the interval" in report or "inside the interval" in report
    assert 'alt="Synthetic images of forest+copyist' in report
    assert outcome.findings.failed == []
    client = MlflowClient(Store("mlruns").tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    (run,) = [run for run in runs if run.info.run_name == "forest+copyist learns"]
    assert client.get_metric_history(run.info.run_id, "curve_fidelity")[0].step == 1000
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["samples-01000.png"]
    again = run_benchmark("tiny", progress=Progress(), trials=4, allow_import=("troublemakers",))
    assert len([trial for trial in again.findings.trials if trial.study == "forest+copyist"]) == 5
    ensemble = load_ensemble(outcome.folder / "ensemble", allow_import=("troublemakers",))
    assert ensemble.predict(load_dataset("digits").X[:2]).shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("status", ["interrupted", "timeout"])
def test_an_augmentation_that_was_stopped_learns_when_the_run_goes_on(arena, place, status):
    arena("studies/forest.toml", FOREST + COPYIST.format(talent="true"))
    outcome = run_benchmark("tiny", progress=Progress(), trials=1, allow_import=("troublemakers",))
    learnt = outcome.folder / "trials/forest+copyist/-1"
    record = json.loads((learnt / "trial.json").read_text())
    (learnt / "generator.keras").unlink()
    record["result"]["status"], record["seconds"] = status, 100.0
    (learnt / "trial.json").write_text(json.dumps(record))
    (learnt / "result.json").write_text(json.dumps(record["result"]))
    run_benchmark("tiny", progress=Progress(), trials=2, allow_import=("troublemakers",))
    with open_folder(newest_run("tiny", "mlruns")) as run:
        prepared, *trials = run.records("forest+copyist")
    assert prepared.result.status == "prepared", prepared.result.reason
    assert 100 < prepared.seconds < 150, "the seconds of both times"
    client = MlflowClient(Store("mlruns").tracking_uri)
    logged = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.trial = '-1'")
    assert [run.data.tags["status"] for run in logged] == ["prepared"]
    assert [trial.result.status for trial in trials] == ["complete"] * 2


def test_an_augmentation_that_has_not_learnt_is_a_row_with_its_reason(arena, place):
    arena("studies/forest.toml", FOREST + COPYIST.format(talent="false"))
    outcome = run_benchmark("tiny", progress=Progress(), trials=1, allow_import=("troublemakers",))
    (row,) = [trial for trial in outcome.findings.trials if trial.study == "forest+copyist"]
    assert (row.status, "its images are all alike" in row.reason) == ("failed", True)
    assert "its images are all alike" in (outcome.folder / "report.md").read_text()
    assert outcome.findings.ensemble is not None


def test_the_report_can_be_made_again(copied):
    (copied.folder / "report.html").unlink()
    findings = rewrite_report("tiny", markdown="out.md")
    assert (copied.folder / "report.html").exists()
    assert Path("out.md").read_text() == (copied.folder / "report.md").read_text()
    assert np.array_equal(findings.ensemble.test_probabilities, copied.findings.ensemble.test_probabilities)
    with pytest.raises(InputError, match="holds no run of that name"):
        rewrite_report("smoke")
    for place_of_file in ("nowhere/out.md", "."):
        with pytest.raises(InputError, match="there is no such folder; name a file in an existing one"):
            rewrite_report("tiny", markdown=place_of_file)


def test_a_call_that_was_cut_off_leaves_no_mixed_report_nor_runs(copied, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("fmnist_bench.runner.session.choose_ensemble", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_benchmark("tiny", progress=Progress(), trials=4)
    with sqlite3.connect("mlruns/mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone() == (0,)
    with pytest.raises(InputError, match="is not finished; python -m fmnist_bench run tiny continues"):
        rewrite_report("tiny")
    assert [row.status for row in compare_runs(["tiny"]).rows] == ["not finished"]
    assert "not opened now, once before" in rechoose("tiny")
    assert "opened 2 times" in rechoose("tiny", open_test=True)
    assert run_benchmark("tiny", progress=Progress(), trials=4).folder == copied.folder


def raise_interrupt(*arguments):
    raise KeyboardInterrupt


LABELS = np.array([-4, -1, 2, 5, 8, 11, 14, 17, 20, 23])


def test_what_leaves_a_run_answers_the_labels_of_its_data(place, monkeypatch):
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    parts = {"x_train": train.X.reshape(-1, 8, 8), "y_train": LABELS[train.y], "x_test": test.X.reshape(-1, 8, 8)}
    np.savez(place / "mine.npz", **parts, y_test=LABELS[test.y])
    monkeypatch.setenv("HOME", str(place))
    outcome = run_benchmark("tiny", data="~/mine.npz", progress=Progress(), trials=1)
    ensemble, scores = load_ensemble(outcome.folder / "ensemble"), outcome.summary()["models"]
    assert ensemble.classes_.tolist() == LABELS.tolist() and ensemble.class_names_ == list(map(str, LABELS))
    assert ensemble.score(test.X, LABELS[test.y]) == pytest.approx(scores[0]["test_accuracy"])
    assert scores[0]["test_accuracy"] > 0.5
    best = outcome.findings.contestants[0]
    model = load_model(outcome.folder / "trials" / best.name / str(best.trial) / "model.skops")
    assert model.classes_.tolist() == LABELS.tolist()
    assert model.score(test.X, LABELS[test.y]) == pytest.approx((best.test_pred == test.y).mean())

    np.savez(place / "mine.npz", **{**parts, "x_test": parts["x_test"][::-1]}, y_test=LABELS[test.y][::-1])
    with pytest.raises(InputError, match=r"mine\.npz: its test rows have changed since they were first opened"):
        rewrite_report("tiny")
    np.savez(place / "mine.npz", **parts, y_test=LABELS[test.y])
    rewrite_report("tiny")
    np.savez(place / "mine.npz", **{**parts, "x_train": parts["x_train"][::-1]}, y_test=LABELS[test.y])
    with pytest.raises(InputError, match=r"mine\.npz: has changed since the run began"):
        rewrite_report("tiny")


@pytest.mark.slow
def test_words_are_labels_to_the_end(place):
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    words = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    parts = {"x_train": train.X.reshape(-1, 8, 8), "y_train": words[train.y], "x_test": test.X.reshape(-1, 8, 8)}
    np.savez("words.npz", **parts, y_test=words[test.y])
    outcome = run_benchmark("tiny", data="words.npz", progress=Progress(), trials=1)
    ensemble, scores = load_ensemble(outcome.folder / "ensemble"), outcome.summary()["models"]
    assert ensemble.classes_.tolist() == ensemble.class_names_ == sorted(words)
    assert ensemble.score(test.X, words[test.y]) == pytest.approx(scores[0]["test_accuracy"])
    best = outcome.findings.contestants[0]
    model = load_model(outcome.folder / "trials" / best.name / str(best.trial) / "model.skops")
    assert model.score(test.X, words[test.y]) > 0.5


@pytest.mark.parametrize(
    "form", ["MINE.NPZ", *(pytest.param(form, marks=pytest.mark.slow) for form in ("folder", "mine_train.csv"))]
)
def test_data_names_whatever_load_dataset_takes(place, form):
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    pairs = {
        part: (data.X.reshape(-1, 8, 8), data.y.astype(np.uint8)) for part, data in (("train", train), ("test", test))
    }
    if form == "folder":
        for part, arrays in pairs.items():
            for stem, array in zip(IDX_FILES[part], arrays, strict=True):
                header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
                Path(form).mkdir(exist_ok=True)
                Path(form, stem).write_bytes(header + array.tobytes())
    elif form.endswith(".csv"):
        for part, (images, labels) in pairs.items():
            table = np.column_stack([labels, images.reshape(-1, 64)])
            np.savetxt(f"mine_{part}.csv", table, fmt="%d", delimiter=",")
    else:
        with open(form, "wb") as file:
            np.savez(
                file,
                **{f"{name}_{part}": a for part, pair in pairs.items() for name, a in zip("xy", pair, strict=True)},
            )
    assert "1200 fit and 300 validation rows" in check_benchmark("tiny", data=form)


@pytest.mark.slow
def test_one_image_of_a_class_stops_nothing(place):
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    rows = np.r_[np.flatnonzero(train.y != 7), np.flatnonzero(train.y == 7)[:1]]
    parts = {"x_train": train.X[rows].reshape(-1, 8, 8), "y_train": train.y[rows] + 5}
    np.savez("rare.npz", **parts, x_test=test.X.reshape(-1, 8, 8), y_test=test.y + 5)
    outcome = run_benchmark("tiny", data="rare.npz", progress=Progress(), trials=1)
    assert load_ensemble(outcome.folder / "ensemble").score(test.X, test.y + 5) > 0.7
    assert all(trial.status == "complete" for trial in outcome.findings.trials)


def test_a_benchmark_of_more_rows_than_there_are_takes_all(place, arena):
    arena("benchmarks/large.toml", BENCHMARK.replace("valid_size = 0.2", "rows = 3000\nvalid_size = 1000"))
    assert "1000 fit and 500 validation rows" in check_benchmark("large")
    with pytest.raises(InputError, match="unknown data set 'nowhere'"):
        check_benchmark("tiny", data="nowhere")


def test_official_validation_rows_choose_unless_the_benchmark_does(place, arena):
    pairs = {"train": load_dataset("digits"), "test": load_dataset("digits", "test")}
    arrays = {f"{part}_images": data.X.reshape(-1, 8, 8) for part, data in pairs.items()}
    arrays |= {f"{part}_labels": data.y[:, np.newaxis] for part, data in pairs.items()}
    np.savez("med.npz", **arrays, val_images=arrays["test_images"][:50], val_labels=arrays["test_labels"][:50])
    for name, line, words in (
        ("none", "", "1500 fit and 50 validation rows"),
        ("more", "rows = 9000\n", "1500 fit and 50 validation rows"),
        ("size", "valid_size = 0.2\n", "1240 fit and 310 validation rows"),
        ("rows", "rows = 620\n", "600 fit and 20 validation rows"),
    ):
        arena(f"benchmarks/{name}.toml", BENCHMARK.replace("valid_size = 0.2\n", line))
        assert words in check_benchmark(name, data="med.npz")


def test_two_processes_do_not_write_one_run(copied):
    with open_folder(newest_run("tiny", "mlruns")), pytest.raises(InputError, match="another process"):
        run_benchmark("tiny", progress=Progress())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"budget": "soon"}, "such as 90s, 10m"),
        ({"budget": [1]}, "expected a duration"),
        ({"workers": 1.5}, "workers 1.5: must be a whole number"),
        ({"workers": True}, "workers True: must be a whole number"),
        ({"trials": "2"}, "trials '2': must be a whole number"),
        ({"seed": 1.5}, "seed 1.5: must be a whole number"),
        ({"max_latency": "fast"}, "max-latency 'fast': must be a number"),
        ({"allow_import": "my_package"}, "must be a list of prefixes"),
        ({"data": ([[0]], [0])}, r"data tuple: .*AutoClassifier.fit takes arrays"),
        ({"name": {"studies": ["bayes"]}}, "dict: must be the name of a benchmark or a study"),
    ],
)
def test_an_argument_of_a_wrong_type_is_an_input_error(place, arguments, words):
    with pytest.raises(InputError, match=words):
        run_benchmark(**{"name": "tiny", "progress": Progress(), **arguments})
    assert os.listdir(place / "mlruns") == ["mlflow.db"]


RICH = """
[[features]]
use = "sklearn.preprocessing.MinMaxScaler"
feature_range = [0, 2]
[[features]]
use = "sklearn.preprocessing.StandardScaler"
with_std = false
[[features]]
use = "sklearn.preprocessing.StandardScaler"
with_mean = { choices = [true, false] }
[model]
use = "sklearn.pipeline.Pipeline"
steps = [
  ["reduce", { use = "sklearn.decomposition.PCA", n_components = { low = 5, high = 9 }, whiten = true }],
  { use = "sklearn.tree.ExtraTreeClassifier", class_weight = { 0 = 2 }, max_depth = { choices = [3, { none = true }] } }
]
[[default]]
features__standardscaler-2__with_mean = true
reduce__n_components = 9
extratreeclassifier__max_depth = { none = true }
"""


@pytest.mark.slow
def test_what_a_study_may_say_runs_from_search_to_report(arena):
    """Two steps of one class, None, a dictionary, a tuple, objects in a list; `+` in a name is no augmentation."""
    arena("studies/bayes.toml", BAYES)
    arena("studies/bayes+tree.toml", RICH)
    arena("benchmarks/rich.toml", BENCHMARK.replace('["forest", "bayes"]', '["bayes", "bayes+tree"]'))
    outcome = run_benchmark("rich", progress=Progress(), trials=2, budget="10m", workers="auto")
    run = open_folder(newest_run("rich", "mlruns"))
    records = run.records("bayes+tree")
    assert [record.status for record in records] == ["complete"] * 2
    assert records[0].parameters == {
        "features__standardscaler-2__with_mean": True,
        "model__reduce__n_components": 9,
        "model__extratreeclassifier__max_depth": None,
    }
    steps = load_model(run.model_file("bayes+tree", 0)).features.steps
    assert [step.get_params().get("with_std") for _, step in steps] == [None, False, True]
    assert outcome.findings.augmented == ()
    assert "With against without augmentation" not in (outcome.folder / "report.md").read_text()


def test_check_writes_nothing(place):
    assert "2 studies (forest, bayes): every configuration can be built" in check_benchmark("tiny")
    assert os.listdir(place / "mlruns") == ["mlflow.db"]


def test_nothing_is_written_before_the_input_is_checked(place, arena):
    arena("studies/bayes.toml", BAYES.replace("GaussianNB", "GausianNB"))
    with pytest.raises(InputError, match="did you mean GaussianNB"):
        run_benchmark("tiny", progress=Progress())
    assert os.listdir(place / "mlruns") == ["mlflow.db"]


def test_a_run_that_mlflow_refuses_leaves_the_earlier_one_the_newest(copied):
    with pytest.raises(InputError, match="nowhere"):
        run_benchmark("tiny", seed=7, tracking_uri="sqlite:////nowhere/mlflow.db", progress=Progress())
    assert open_folder(newest_run("mlruns")).folder == copied.folder


@pytest.mark.parametrize("subset", ["train", "test"])
def test_a_data_set_that_was_loaded_is_given_by_its_name(place, subset):
    with pytest.raises(InputError, match="give its name or path, such as 'digits'"):
        run_benchmark("tiny", data=load_dataset("digits", subset), progress=Progress())
    assert not list(place.glob("mlruns/runs/*"))


def test_a_report_of_no_run_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="holds no run of that name"):
        rewrite_report("tiny")
    assert list(tmp_path.iterdir()) == []
