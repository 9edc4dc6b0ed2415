"""What `doctor` says of a folder of results, each fault made on a real run."""

import fcntl
import json
import shutil
import sqlite3

import pytest

from fmnist_bench.runner import run_benchmark
from fmnist_bench.store_health import database_fault, run_faults

STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 0.1, log = true }\n'
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["bayes"]\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory, empty_database):
    """Run a benchmark once; the tests damage copies of its folder."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "bayes.toml").write_text(STUDY)
    (folder / "mlruns").mkdir()
    shutil.copy(empty_database, folder / "mlruns")
    (folder / "tiny.toml").write_text(BENCHMARK.replace('"bayes"', f'"{folder}/bayes.toml"'))
    return run_benchmark(folder / "tiny.toml", mlruns=folder / "mlruns").folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_that_came_to_its_end_is_whole(run):
    assert list(run_faults(run)) == []


def damage_record(run):
    next(run.glob("trials/*/0/trial.json")).unlink()


def damage_member(run):
    with next(run.glob("ensemble/*.skops")).open("ab") as file:
        file.write(b"x")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_journal(run):
    with (run / "optuna.journal").open("ab") as file:
        file.write(b"\n")


def unlog(run):
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "unlogged": [["bayes", 0]]}))


def test_what_a_trial_that_ended_early_left_is_no_fault(run):
    left = next(run.glob("trials/*/0"))
    left.with_name("0.tmp").mkdir()
    assert list(run_faults(run)) == []
    left.with_name("1.tmp").mkdir()
    ((text, _),) = run_faults(run)
    assert "1 trials have not ended" in text


@pytest.mark.parametrize(
    ("harm", "found", "advice"),
    [
        (damage_record, "1 trials have not ended", "run tiny tries"),
        (damage_member, "changed since the ensemble was saved", "run tiny makes it again"),
        (unlog, "1 trials are not in MLflow", "run tiny logs them"),
        (lambda run: (run / "report.html").unlink(), "report.html is missing", "report tiny"),
        (lambda run: (run / "split.npz").unlink(), "split.npz: is missing or damaged", "run tiny writes it"),
        (lambda run: (run / "run.json").write_text("{"), "run.json: is damaged", "move the folder away"),
        (lambda run: (run / "ensemble/manifest.json").write_text("[]"), "manifest.json: cannot be read", "run tiny"),
        (
            lambda run: next(run.glob("trials/*/0/valid_probabilities.npy")).unlink(),
            "valid_probabilities.npy is missing",
            "run tiny asks its parameters again",
        ),
        (lambda run: (run / "run.json").write_text("[]"), "run.json: is damaged", "move the folder away"),
        (lambda run: (run / "split.npz").write_bytes(b"PK"), "split.npz: is missing or damaged", "run tiny writes it"),
        (lambda run: (run / "optuna.journal").unlink(), "optuna.journal: is damaged, or does not", "run tiny makes"),
        (lambda run: cut(run / "optuna.journal"), "optuna.journal: is damaged, or does not", "run tiny makes it again"),
        (spoil_journal, "optuna.journal: is damaged, or does not agree", "run tiny makes it again"),
        (lambda run: cut(next(run.glob("trials/*/0/valid_p*"))), "valid_probabilities.npy cannot be read", "asks its"),
    ],
)
def test_each_fault_is_named_with_what_to_do(run, harm, found, advice):
    harm(run)
    ((text, cure),) = run_faults(run)
    assert found in text and str(run) in text
    assert advice in cure


def test_an_oracle_that_forgot_is_named(run):
    (run / "oracle").mkdir()
    oracle = run / "oracle" / f"{next(run.glob('trials/*')).name}.json"
    record = json.loads(next(run.glob("trials/*/0/trial.json")).read_text())
    question = {name: record[name] for name in ("study", "number", "parameters", "default", "rung")}
    oracle.write_text(json.dumps({"asked": [question]}))
    assert list(run_faults(run)) == []
    for content in ('{"asked": []}', '{"asked"', "[]", json.dumps({"asked": [{**question, "rung": 1}]})):
        oracle.write_text(content)
        ((text, _),) = run_faults(run)
        assert f"{oracle}: is damaged, or does not agree with the trials" in text


def test_looking_at_a_damaged_journal_changes_nothing(run):
    spoil_journal(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert len(list(run_faults(run))) == 1
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_run_in_progress_is_left_alone(run):
    damage_record(run)
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list(run_faults(run)) == []
    assert list(run_faults(run)) != []


def test_a_database_that_is_whole_has_no_fault(empty_database):
    before = empty_database.stat().st_mtime_ns
    assert database_fault(empty_database) is None
    assert empty_database.stat().st_mtime_ns == before


def test_damaged_databases_are_named(empty_database, tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"no database, but long enough to look like something" * 20)
    assert "not a database" in database_fault(path)[0]
    path.write_bytes(b"")
    assert "holds no experiments" in database_fault(path)[0]
    assert path.read_bytes() == b"", "looking changes nothing"
    shutil.copy(empty_database, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '0'")
    fault, advice = database_fault(path)
    assert str(path) in fault and "mlflow db upgrade" in advice
