"""Classical-plus-deep AutoML benchmark for Fashion-MNIST and data sets shaped like it.

The public names are imported when they are first used, so that ``import fmnist_bench`` costs nothing.
"""

import os
import warnings
from typing import TYPE_CHECKING

from fmnist_bench._utils.lazy import exports
from fmnist_bench._utils.version import __version__

if TYPE_CHECKING:
    from fmnist_bench._utils.errors import InputError as InputError
    from fmnist_bench.automl.classifier import AutoClassifier as AutoClassifier
    from fmnist_bench.automl.results import load_run as load_run
    from fmnist_bench.config.loader import load_benchmark as load_benchmark
    from fmnist_bench.data.dataset import load_dataset as load_dataset
    from fmnist_bench.ensemble.estimator import StackedEnsemble as StackedEnsemble
    from fmnist_bench.ensemble.loading import load_ensemble as load_ensemble
    from fmnist_bench.ensemble.pretrained import load_pretrained as load_pretrained
    from fmnist_bench.export.verb import export_onnx as export_onnx
    from fmnist_bench.models.saved import load_model as load_model
    from fmnist_bench.pipeline import Pipeline as Pipeline
    from fmnist_bench.runner import run_benchmark as run_benchmark

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow says at length what it did not find
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # else its fast convolutions are for CPUs with VNNI, BF16 or AMX
# Optuna imports tqdm's bars, which miss widgets in a notebook; none of them is shown.
warnings.filterwarnings("ignore", message="IProgress not found")

_HOMES = {
    "AutoClassifier": "fmnist_bench.automl.classifier",
    "Pipeline": "fmnist_bench.pipeline",
    "InputError": "fmnist_bench._utils.errors",
    "StackedEnsemble": "fmnist_bench.ensemble.estimator",
    "export_onnx": "fmnist_bench.export.verb",
    "load_benchmark": "fmnist_bench.config.loader",
    "load_dataset": "fmnist_bench.data.dataset",
    "load_ensemble": "fmnist_bench.ensemble.loading",
    "load_model": "fmnist_bench.models.saved",
    "load_pretrained": "fmnist_bench.ensemble.pretrained",
    "load_run": "fmnist_bench.automl.results",
    "run_benchmark": "fmnist_bench.runner",
}
__all__ = ["__version__", *_HOMES]
__getattr__, __dir__ = exports(__name__, _HOMES)
