"""All that somebody needs to know to run a benchmark again: machine, versions, revision."""

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from fmnist_bench._utils.addresses import without_secrets
from fmnist_bench._utils.version import __version__

# What multiplies matrices on a processor, fastest first, and the word for it in /proc/cpuinfo. Virtual machines call
# quite different processors by one name, and networks train several times as fast on some as on others.
LIMITS_OF_ONEDNN = "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"  # variables; TensorFlow computes with oneDNN
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
CPUINFO = Path("/proc/cpuinfo")
GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
OF_MEMORY = {  # files of a control group's limit and use, and the word for what it would give up; by its version
    False: ("memory.max", "memory.current", "inactive_file"),
    True: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
LIBRARIES = ("scikit-learn", "xgboost", "optuna", "keras-tuner", "keras", "tensorflow", "mlflow", "numpy")

CUDA = {  # distributions of which a back end of Keras needs one, to use a GPU
    "tensorflow": ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
    "jax": ("jax-cuda12-plugin", "jax-cuda13-plugin"),
}


def allowed_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def available_memory() -> int:
    """Bytes of memory that are free or can be freed: on the machine, or in a container that may use less."""
    left = [limit - used for limit, used in _containers()]
    return max(0, min([int(psutil.virtual_memory().available), *left]))


def _containers() -> Iterator[tuple[int, int]]:
    """Limit and used bytes of each control group that this process is in and that limits memory, of both versions."""
    with contextlib.suppress(OSError, ValueError):
        for line in OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root = GROUPS / "memory" if controllers else GROUPS
            names = OF_MEMORY[bool(controllers)]
            own = root / place.strip("/")  # in a container it may be the host's path, of which the root alone is there
            for group in (own, *own.parents[: len(own.parts) - len(root.parts)]):
                with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                    limit, used = (int((group / name).read_text()) for name in names[:2])
                    yield limit, used - _freed_on_demand(group, names[2])


def _freed_on_demand(group: Path, name: str) -> int:
    """Bytes of files in memory that a control group would give up."""
    for line in (group / "memory.stat").read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def cores() -> int:
    """How many cores this process may use."""
    return len(allowed_cores())


def versions() -> dict[str, str]:
    """Version of this package and of the libraries that a result depends on."""
    libraries = [*LIBRARIES, *({backend()} - set(LIBRARIES))]
    found = {name: version for name in libraries if (version := installed(name))}
    return {"fmnist_bench": __version__, **found}


def installed(distribution: str) -> str:
    """Version of a distribution, or of its build for CPUs alone, such as tensorflow-cpu; empty where there is none."""
    for name in (distribution, f"{distribution}-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def backend() -> str:
    """Name of the back end that networks run on, as Keras will find it."""
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads((folder / "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow"))
    return "tensorflow"


def gpus() -> list[str]:
    """Names of the GPUs of this machine that NVIDIA's driver offers to this process.

    Raises
    ------
    OSError, subprocess.SubprocessError
        Where there is a driver, and it fails.
    """
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=10, check=True)
    there = re.findall(r"^GPU (\d+): (.*?) *\(UUID: (.*)\)", done.stdout, re.MULTILINE)
    if (offered := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        words = [word.strip() for word in offered.split(",") if word.strip()]
        there = [gpu for gpu in there if any(word == gpu[0] or gpu[2].startswith(word) for word in words)]
    return [name for _, name, _ in there]


def reaches_gpus() -> bool:
    """Whether the back end was installed with what it needs to use a GPU."""
    if backend() == "torch":
        return bool(version := installed("torch")) and "+cpu" not in version
    return any(map(installed, CUDA.get(backend(), ())))


def used_gpus() -> list[str]:
    """Names of the GPUs that networks use; none where the driver fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return gpus() if reaches_gpus() else []
    return []


def command() -> str:
    """Command line of this process, without what is secret in an address; "from Python" where a notebook calls."""
    program = Path(sys.argv[0])
    if program.stem == "fmnist-bench" or program.parts[-2:] == ("fmnist_bench", "__main__.py"):
        called = "python -m fmnist_bench"
    elif program.suffix == ".py" and "ipykernel" not in str(program):
        called = f"python {program.name}"
    else:
        return "from Python"
    return " ".join([called, *map(without_secrets, sys.argv[1:])])


def machine() -> dict[str, str]:
    """Processor, GPU where networks use one, memory, system, versions and revision."""
    found = used_gpus()
    return {
        "processor": f"{_processor()}{f' ({unit})' if (unit := _units_used()) else ''}, {cores()} cores used",
        **({"GPU": f"{', '.join(found)} (networks on {backend()})"} if found else {}),
        "memory": f"{min([psutil.virtual_memory().total, *(limit for limit, _ in _containers())]) / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "revision": _revision(),
    }


def matrix_unit() -> str:
    """Name of the fastest instructions that multiply matrices; empty where it is not known."""
    flags = set(_processor_line("flags").split())
    return next((name for flag, name in UNITS.items() if flag in flags), "")


def _units_used() -> str:
    """What multiplies matrices, and the limit that a user has set to it, which changes every figure."""
    limit = next((f"{name}={os.environ[name]}" for name in LIMITS_OF_ONEDNN if name in os.environ), "")
    return ", ".join(filter(None, (matrix_unit(), limit)))


def _processor() -> str:
    return _processor_line("model name") or platform.processor() or platform.machine()


def _processor_line(key: str) -> str:
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""


def _revision() -> str:
    """Git revision of the code, if it runs from a checkout: it may lie in a folder of somebody else's repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        for command in (["ls-files", "--error-unmatch", __file__], ["describe", "--always", "--dirty", "--exclude=*"]):
            done = subprocess.run([*git, *command], capture_output=True, text=True, check=True, timeout=5)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"
