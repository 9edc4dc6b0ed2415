import os
import subprocess
from types import SimpleNamespace

import pytest

import fmnist_bench
from fmnist_bench._utils import environment
from fmnist_bench._utils.environment import (
    LIBRARIES,
    available_memory,
    backend,
    command,
    cores,
    gpus,
    machine,
    matrix_unit,
    versions,
)


def test_the_cores_are_those_that_may_be_used():
    assert 1 <= cores() <= os.cpu_count()


def test_versions_are_those_installed():
    import sklearn

    found = versions()
    assert found["fmnist_bench"] == fmnist_bench.__version__
    assert found["scikit-learn"] == sklearn.__version__
    assert set(found) <= {"fmnist_bench", *LIBRARIES, backend()}


def test_the_machine_says_what_a_figure_has_to_name():
    found = machine()
    assert "cores used" in found["processor"]
    assert found["memory"].endswith("GiB")
    assert all(found.values())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f avx512_bf16 amx_bf16", "AMX"),
        ("avx2 avx512f avx512_bf16", "AVX-512 BF16"),
        ("avx2 avx512f", "AVX-512"),
        ("avx avx2", "AVX2"),
        ("fpu", ""),
    ],
)
def test_processors_of_one_name_are_told_apart_by_what_multiplies_matrices(flags, expected, tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: {flags}\nbugs\t\t: avx2\n")
    monkeypatch.setattr("fmnist_bench._utils.environment.CPUINFO", cpuinfo)
    assert matrix_unit() == expected
    assert machine()["processor"].startswith(f"AMD EPYC ({expected}), " if expected else "AMD EPYC, ")


def test_a_limit_of_its_instructions_is_said_with_the_processor(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: AMD EPYC\nflags\t\t: avx2 avx512f avx512_bf16\n")
    monkeypatch.setattr("fmnist_bench._utils.environment.CPUINFO", cpuinfo)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine()["processor"].startswith("AMD EPYC (AVX-512 BF16, ONEDNN_MAX_CPU_ISA=AVX2), ")


def test_a_machine_without_cpuinfo_has_a_processor_too(tmp_path, monkeypatch):
    monkeypatch.setattr("fmnist_bench._utils.environment.CPUINFO", tmp_path / "missing")
    assert not matrix_unit()
    assert machine()["processor"].endswith("cores used")


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Return a function that puts an `nvidia-smi` that runs these lines of sh before every other program."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def write(lines):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)

    return write


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (None, ["NVIDIA H100 80GB HBM3", "NVIDIA L4"]),
        ("1", ["NVIDIA L4"]),
        ("GPU-1a, 1", ["NVIDIA H100 80GB HBM3", "NVIDIA L4"]),
        ("-1", []),
        ("", []),
    ],
)
def test_a_gpu_is_part_of_the_machine(offered, expected, driver, monkeypatch):
    driver("echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1a1)'; echo 'GPU 1: NVIDIA L4 (UUID: GPU-2)'")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(environment, "installed", lambda name: "2.14")
    if offered is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", offered)
    assert gpus() == expected
    assert machine().get("GPU", "") == (f"{', '.join(expected)} (networks on torch)" if expected else "")


@pytest.mark.parametrize(
    ("name", "version"), [("torch", "2.14+cpu"), ("torch", ""), ("tensorflow", ""), ("jax", ""), ("other", "1")]
)
def test_a_gpu_that_the_back_end_cannot_use_is_left_out(name, version, driver, monkeypatch):
    driver("echo 'GPU 0: NVIDIA L4 (UUID: GPU-2)'")
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setattr(environment, "installed", lambda _: version)
    assert gpus() and "GPU" not in machine()


def test_the_back_end_is_that_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"floatx": "float32", "backend": "jax"}')
    assert backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend() == "torch"
    monkeypatch.delenv("KERAS_BACKEND")
    (tmp_path / "keras.json").write_text("[")
    assert backend() == "tensorflow"


def test_a_driver_that_fails_leaves_the_gpu_out(driver, monkeypatch):
    driver("exit 9")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(subprocess.CalledProcessError):
        gpus()
    assert "GPU" not in machine()


PROGRAM, CALL = "/lib/fmnist_bench/__main__.py", "python -m fmnist_bench"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([PROGRAM, "run", "all"], f"{CALL} run all"),
        (["/bin/fmnist-bench", "list"], f"{CALL} list"),
        (["studies/mine.py", "--seed", "3"], "python mine.py --seed 3"),
        (["/lib/ipykernel_launcher.py", "-f", "kernel.json"], "from Python"),
        (["/lib/ipykernel/__main__.py"], "from Python"),
        (["-c"], "from Python"),
        ([""], "from Python"),
        ([PROGRAM, "ui", "--tracking-uri", "https://me:x@host:5/a@b"], f"{CALL} ui --tracking-uri https://host:5/a@b"),
        ([PROGRAM, "ui", "postgresql://host/db?user=me&password=x"], f"{CALL} ui postgresql://host/db?user=me"),
    ],
)
def test_the_command_is_that_of_the_program_and_says_no_password(monkeypatch, arguments, said):
    monkeypatch.setattr("sys.argv", arguments)
    assert command() == said


def test_a_repository_around_the_package_that_is_not_its_own_has_no_say(tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        return subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True)

    package = tmp_path / "site-packages" / "environment.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(environment, "__file__", str(package))
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "theirs")
    assert environment._revision() == "not a git checkout"
    git("add", "site-packages")
    git("commit", "-q", "-m", "ours")
    assert environment._revision() == git("rev-parse", "--short", "HEAD").stdout.strip()


GIB = 2**30


def files(folder, **contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("memory_", "memory.")).write_text(content)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("0::/jobs/mine\n", 3 * GIB // 4),  # the least that any group above it has left
        ("0::/jobs\n", 3 * GIB // 4),
        ("0::/gone/on/the/host\n", None),
        ("12:pids:/jobs\n7:cpu,memory:/box/a\n0::/\n", GIB // 4),
        ("7:memory:/docker/0123\n", 2 * GIB),
        ("nonsense", None),
    ],
)
def test_the_memory_is_that_of_the_container(own, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(environment, "OWN_GROUPS", tmp_path / "own")
    files(tmp_path / "cgroup" / "jobs", memory_max=f"{GIB}\n", memory_current=f"{GIB // 2}\n")
    files(tmp_path / "cgroup" / "jobs", memory_stat=f"anon 5\ninactive_file {GIB // 4}\n")
    files(tmp_path / "cgroup" / "jobs" / "mine", memory_max="max\n", memory_current="7\n", memory_stat="")
    files(tmp_path / "cgroup" / "memory" / "box" / "a", memory_limit_in_bytes=f"{GIB}", memory_stat="")
    files(tmp_path / "cgroup" / "memory" / "box" / "a", memory_usage_in_bytes=f"{3 * GIB // 4}")
    files(tmp_path / "cgroup" / "memory", memory_limit_in_bytes=f"{2 * GIB}", memory_usage_in_bytes="0")
    files(tmp_path / "cgroup" / "memory", memory_stat="total_inactive_file 0")
    (tmp_path / "own").write_text(own)
    free = environment.psutil.virtual_memory().total
    monkeypatch.setattr(environment.psutil, "virtual_memory", lambda: SimpleNamespace(available=free, total=free))
    assert available_memory() == (free if expected is None else min(expected, free))
