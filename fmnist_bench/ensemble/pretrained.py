"""Ensembles that come with the package: images can be classified before anything was trained."""

from pathlib import Path

from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.loading import load_ensemble

PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
NAMES = ("ensemble", "network")
CARD = "README.md"


def pretrained_folder(name: str = "ensemble") -> Path:
    """Find a saved ensemble that comes with the package.

    Raises
    ------
    InputError
        Where none has this name.
    """
    if name not in NAMES:
        raise InputError(f"pretrained {name!r}: must be one of {', '.join(NAMES)}")
    return PRETRAINED / name


def load_pretrained(name: str = "ensemble", n_jobs: int | None = -1) -> StackedEnsemble:
    """Load a classifier of Fashion-MNIST that comes with the package.

    Its files are checked by SHA-256. How it was trained and what it reaches says the model card beside them.

    Parameters
    ----------
    name : {"ensemble", "network"}
        A few small models, or the best single network alone.
    n_jobs : int or None
        Members that predict side by side: as many as there are cores by default, None for one at a time.

    Returns
    -------
    StackedEnsemble
        Fitted, over rows of 784 pixels, 0 to 255, bright on black; `class_names_` are the names of its ten classes.

    Raises
    ------
    InputError
        Where there is none of this name, or a file is missing or has changed.
    """
    return load_ensemble(pretrained_folder(name), n_jobs=n_jobs)
