"""Classical-plus-deep AutoML benchmark for Fashion-MNIST and data sets shaped like it.

The public names are imported when they are first used, so that ``import fmnist_bench`` costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_bench.candidate import Candidate as Candidate
    from fmnist_bench.config import load_benchmark as load_benchmark
    from fmnist_bench.data import load_dataset as load_dataset
    from fmnist_bench.ensemble import StackedEnsemble as StackedEnsemble
    from fmnist_bench.ensemble import load_ensemble as load_ensemble
    from fmnist_bench.errors import InputError as InputError
    from fmnist_bench.runner import run_benchmark as run_benchmark
    from fmnist_bench.saved_models import load_model as load_model

__version__ = "0.1.0"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow says at length what it did not find
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # else its fast convolutions are for CPUs with VNNI, BF16 or AMX

_HOME = {
    "Candidate": "candidate",
    "InputError": "errors",
    "StackedEnsemble": "ensemble",
    "load_benchmark": "config",
    "load_dataset": "data",
    "load_ensemble": "ensemble",
    "load_model": "saved_models",
    "run_benchmark": "runner",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
