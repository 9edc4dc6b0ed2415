"""Runs what was converted to ONNX, for the tests of the converters."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper

import fmnist_bench.export.combination  # noqa: F401
from fmnist_bench.export.graph import FLOAT, UINT8, Graph
from fmnist_bench.export.pipelines import convert


def computed(estimator, X, method="predict_proba"):
    """What the converted estimator computes of rows, by onnxruntime."""
    g = Graph()
    found = convert(g, estimator, "X", method)
    kind = UINT8 if X.dtype == np.uint8 else FLOAT
    said = helper.make_tensor_value_info("Y", FLOAT, ["n", "m"])
    model = g.model([helper.make_tensor_value_info("X", kind, ["n", X.shape[1]])], {"Y": (found, said)}, {})
    onnx.checker.check_model(model)
    return run(model.SerializeToString(), X)[0]


def run(model, X):
    """All outputs of a model, of its bytes or its file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})
