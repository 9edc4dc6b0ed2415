"""Pipelines, and whatever skl2onnx knows."""

from typing import Any

import numpy as np

from fmnist_bench._utils.errors import one_line
from fmnist_bench.export.graph import FLOAT, OPSETS, Graph, ints
from fmnist_bench.export.registry import NotExportableError, converter_of, converts


def convert(g: Graph, estimator: Any, x: str, method: str = "predict_proba") -> str:
    """Add what an estimator computes from the tensor `x`; return the name of the result.

    A class without a converter of its own is left to skl2onnx.

    Raises
    ------
    NotExportableError
        Where neither knows it.
    """
    converter = converter_of(estimator, method)
    if converter is not None:
        return str(converter(g, estimator, x))
    if method == "decision_function":
        raise NotExportableError(f"{type(estimator).__name__}: its scores have no converter")
    return _by_skl2onnx(g, estimator, x, method)


def _by_skl2onnx(g: Graph, estimator: Any, x: str, method: str) -> str:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    options = {"zipmap": False} if method == "predict_proba" else None
    rows = [("X", FloatTensorType([None, int(estimator.n_features_in_)]))]
    try:
        model = skl2onnx.to_onnx(estimator, initial_types=rows, options=options, target_opset=dict(OPSETS))
    except Exception as error:  # of many kinds, where it does not know a class or an argument
        reason = one_line(error)[:200]
        raise NotExportableError(f"{type(estimator).__name__}: skl2onnx does not convert it: {reason}") from error
    if unknown := {each.domain for each in model.opset_import} - {"", "ai.onnx", *OPSETS}:
        raise NotExportableError(f"{type(estimator).__name__}: needs operators of {', '.join(sorted(unknown))}")
    return g.include(model, g.cast(x, FLOAT), model.graph.output[-1].name)


def normalised(g: Graph, x: str) -> str:
    """Let rows of numbers that are not negative sum to one."""
    return g.op("Div", x, g.sum(x))


@converts("fmnist_bench.pipeline.Pipeline")
def pipeline(g: Graph, estimator: Any, x: str) -> str:
    """Convert features and model; the columns come in the order of the classes, and each row sums to one."""
    rows = x if estimator.features_ is None else _steps(g, estimator.features_.steps, x)
    found, order = convert(g, estimator.model_, rows), np.argsort(estimator.model_.classes_)
    if (order != np.arange(len(order))).any():
        found = g.op("Gather", found, ints(*order), axis=1)
    return normalised(g, g.op("Max", found, np.float32(0)))


@converts("sklearn.pipeline.Pipeline")
def sklearn_pipeline(g: Graph, estimator: Any, x: str) -> str:
    """Convert the transformers and the classifier behind them."""
    return convert(g, estimator.steps[-1][1], _steps(g, estimator.steps[:-1], x))


def _steps(g: Graph, steps: Any, x: str) -> str:
    for _, step in steps:
        if step not in (None, "passthrough"):
            x = convert(g, step, x, "transform")
    return x
