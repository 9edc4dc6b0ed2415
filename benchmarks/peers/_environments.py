"""An environment of its own for each peer: made once, by pip, from versions that are kept beside this file."""

import shutil
import subprocess
import sys
from pathlib import Path

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.files import write_text

HERE = Path(__file__).resolve().parent
OWN = "fmnist_bench"
REQUIREMENTS = {
    "flaml": ["flaml[automl]"],
    "autogluon": ["autogluon.tabular[lightgbm,catboost,xgboost,fastai]"],
    # Later Keras refuses NumPy's integers as units, which AutoKeras gives; KerasTuner imports TensorBoard unasked.
    "autokeras": ["autokeras>=3", "tensorflow", "keras<3.13", "tensorboard"],
    "h2o": ["h2o", "pandas"],
}
READY = "ready.txt"  # in an environment that is whole


class CannotRun(Exception):
    """Why a peer cannot run on this machine today, in one line."""


def constraints(name: str) -> Path:
    """File of the versions that a peer is measured with."""
    return HERE / f"constraints-{name}.txt"


def interpreter(name: str, folder: Path, freeze: bool = False) -> Path:
    """Give the Python of a peer's environment; make it where it is not whole.

    Parameters
    ----------
    name : str
    folder : Path
        Of all environments.
    freeze : bool
        Install the newest versions instead of those that are kept, and keep them.

    Raises
    ------
    CannotRun
    """
    if name == OWN:
        return Path(sys.executable)
    if name == "h2o" and shutil.which("java") is None:
        raise CannotRun("there is no Java")
    wanted = [*REQUIREMENTS[name], *([] if freeze or not constraints(name).exists() else ["-c", constraints(name)])]
    python, mark = folder / name / "bin" / "python", _mark(name, freeze)
    if (ready := folder / name / READY).exists() and ready.read_text() == mark:
        return python
    shutil.rmtree(folder / name, ignore_errors=True)
    _call(sys.executable, "-m", "venv", "--without-pip", folder / name)
    pip = sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python
    _call(*pip, "install", "--quiet", *wanted)
    if freeze:
        done = subprocess.run([*map(str, pip), "freeze"], capture_output=True, text=True, check=True)
        write_text(constraints(name), _portable(done.stdout))
        mark = _mark(name, False)
    write_text(ready, mark)
    return python


def _portable(frozen: str) -> str:
    """Leave out what names files of this machine, and the local part of versions, such as +cpu."""
    lines = [line for line in frozen.splitlines() if "==" in line and not line.startswith(("#", "-"))]
    return "".join(f"{line.split('+')[0]}\n" for line in sorted(lines, key=str.lower))


def _mark(name: str, freeze: bool) -> str:
    file = constraints(name)
    kept = file.read_text() if file.exists() and not freeze else ""
    return digest_of(repr((REQUIREMENTS[name], kept, sys.version)))


def _call(*command: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        error = next((line for line in said if line.startswith("ERROR")), said[-1])
        raise CannotRun(f"cannot be installed: {error[:300]}")
