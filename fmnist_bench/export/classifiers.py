"""Linear models, support vector machines, calibration and nearest neighbours as ONNX operators."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fmnist_bench.export.graph import DOUBLE, FLOAT, INT64, Graph, ints
from fmnist_bench.export.pipelines import convert, normalised
from fmnist_bench.export.registry import NotExportableError, converts

SLOPE = 4.0  # as in `fmnist_bench.models.SVC`
SPARE = 8  # neighbours more than asked for, among which the nearest are found by their exact distances


@converts("sklearn.linear_model._base.LinearClassifierMixin", "decision_function")
def linear_scores(g: Graph, model: Any, x: str) -> str:
    """Scores of a linear classifier."""
    return g.affine(g.cast(x, FLOAT), model.coef_.T, model.intercept_)


@converts("sklearn.linear_model._logistic.LogisticRegression")
def logistic_regression(g: Graph, model: Any, x: str) -> str:
    """Softmax of the scores."""
    return g.op("Softmax", _of_all_classes(g, linear_scores(g, model, x), len(model.classes_)), axis=1)


def _of_all_classes(g: Graph, scores: str, n_classes: int) -> str:
    """Give the first of two classes a score, too."""
    return scores if n_classes > 2 else g.op("Concat", g.op("Sub", scores, scores), scores, axis=1)


@converts("sklearn.naive_bayes.GaussianNB")
def gaussian_bayes(g: Graph, model: Any, x: str) -> str:
    """Softmax of the log likelihoods, in double precision: they are large."""
    means, variances = model.theta_.astype(np.float64), model.var_.astype(np.float64)
    constants = np.log(model.class_prior_) - 0.5 * (np.log(2 * np.pi * variances) + means**2 / variances).sum(axis=1)
    linear, square, x = (means / variances).T, (-0.5 / variances).T, g.cast(x, DOUBLE)
    scores = g.op("Add", g.op("MatMul", x, linear), g.op("MatMul", g.op("Mul", x, x), square))
    return g.cast(g.op("Softmax", g.op("Add", scores, constants.astype(np.float64)), axis=1), FLOAT)


@converts("sklearn.calibration.CalibratedClassifierCV")
def calibrated(g: Graph, model: Any, x: str) -> str:
    """Mean of the calibrated classifiers."""
    found = [_calibrated(g, each, x) for each in model.calibrated_classifiers_]
    return found[0] if len(found) == 1 else g.op("Mean", *found)


def _calibrated(g: Graph, fitted: Any, x: str) -> str:
    classes, calibrators = fitted.classes, fitted.calibrators
    if fitted.method not in ("temperature", "sigmoid") or len(fitted.estimator.classes_) != len(classes):
        raise NotExportableError(f"CalibratedClassifierCV: method {fitted.method!r} has no converter")
    if not hasattr(fitted.estimator, "decision_function"):
        kind = type(fitted.estimator).__name__
        raise NotExportableError(f"CalibratedClassifierCV of {kind}: calibrated probabilities have no converter")
    scores = convert(g, fitted.estimator, x, "decision_function")
    if fitted.method == "temperature":
        both = scores if len(classes) > 2 else g.op("Concat", g.op("Neg", scores), scores, axis=1)
        return g.op("Softmax", g.op("Mul", both, np.float32(calibrators[0].beta_)), axis=1)
    slopes, offsets = (np.array([getattr(each, name) for each in calibrators], np.float32) for name in ("a_", "b_"))
    shares = g.op("Sigmoid", g.op("Neg", g.op("Add", g.op("Mul", scores, slopes), offsets)))
    if len(classes) > 2:
        return normalised(g, shares)
    return g.op("Concat", g.op("Sub", np.float32(1), shares), shares, axis=1)


@converts("sklearn.svm._classes.SVC", "decision_function")
def _refuse_svc(g: Graph, model: Any, x: str) -> str:
    raise NotExportableError(f"{type(model).__name__}: its scores have no converter; fmnist_bench.models.SVC has one")


@converts("fmnist_bench.models.svm.SVC", "decision_function")
def svc(g: Graph, model: Any, x: str) -> str:
    """Scores of a support vector machine with a Gaussian kernel, by matrix products."""
    if not (model._scores_pairs or (model.kernel == "rbf" and len(model.classes_) == 2 and not model._sparse)):
        raise NotExportableError(f"SVC: kernel={model.kernel!r} with these arguments has no converter")
    kernel = g.op("Exp", g.op("Mul", _squared_distances(g, x, model.support_vectors_), np.float64(-model._gamma)))
    weights = model.dual_coef_.T if len(model.classes_) == 2 else model._weights_of_pairs()
    products = g.op("MatMul", kernel, _doubled(g, weights))
    margins = g.cast(g.op("Add", products, model.intercept_.astype(np.float64)), FLOAT)
    return margins if len(model.classes_) == 2 else _pairwise_scores(g, margins, len(model.classes_))


def _doubled(g: Graph, array: NDArray[Any]) -> str:
    """Keep an array in single precision, which halves the file, and compute with it in double."""
    return g.cast(g.constant(array.astype(np.float32)), DOUBLE)


def _pairwise_scores(g: Graph, margins: str, n_classes: int) -> str:
    """Sum the log sigmoids of each class's margins over its pairs."""
    pairs = list(combinations(range(n_classes), 2))
    first, second = (np.eye(n_classes, dtype=np.float32)[[pair[i] for pair in pairs]] for i in (0, 1))
    scaled = g.op("Mul", margins, np.float32(SLOPE))
    lost = g.op("Softplus", g.op("Neg", scaled))  # log sigmoid(m) = -softplus(-m), log sigmoid(-m) = that - m
    return g.op("Neg", g.op("Add", g.affine(lost, first + second), g.affine(scaled, second)))


def _squared_distances(g: Graph, x: str, rows: NDArray[Any]) -> str:
    """Squared distances of shape (n, n_rows), in double precision: thousands of kernels are summed up."""
    x, lengths = g.cast(x, DOUBLE), (rows.astype(np.float64) ** 2).sum(axis=1)
    products = g.op("Add", g.op("MatMul", x, _doubled(g, -2 * rows.T)), lengths)
    return g.op("Add", products, g.op("ReduceSumSquare", x, ints(1), keepdims=1))


@converts("sklearn.neighbors._classification.KNeighborsClassifier")
def nearest_neighbours(g: Graph, model: Any, x: str) -> str:
    """Votes of the nearest rows; candidates by a matrix product, where the metric allows it."""
    kind = model.effective_metric_ if model.effective_metric_ != "minkowski" else ""
    if kind not in ("euclidean", "manhattan") or model.weights not in ("uniform", "distance") or model.outputs_2d_:
        raise NotExportableError(
            f"KNeighborsClassifier: metric {model.effective_metric_!r}, weights {model.weights!r} have no converter"
        )
    rows, x = np.asarray(model._fit_X, dtype=np.float32), g.cast(x, FLOAT)
    n_candidates = min(len(rows), model.n_neighbors + SPARE)
    found = (_candidates if kind == "euclidean" else _candidates_by_steps)(g, x, rows, n_candidates)
    distances = _exact_distances(g, x, g.op("Gather", rows, found, axis=0), kind)
    distances, order = g.ops("TopK", 2, distances, ints(model.n_neighbors), axis=1, largest=0)
    nearest = g.op("GatherElements", found, order, axis=1)
    votes = g.op("Gather", np.eye(len(model.classes_), dtype=np.float32), g.op("Gather", model._y, nearest))
    if model.weights == "distance":
        votes = g.op("Mul", votes, g.op("Unsqueeze", _by_distance(g, distances), ints(2)))
    return normalised(g, g.op("ReduceSum", votes, ints(1), keepdims=0))


def _candidates(g: Graph, x: str, rows: NDArray[np.float32], n: int) -> str:
    """Numbers of the `n` nearest rows; the length of `x` does not change their order."""
    products = g.affine(x, -2 * rows.T, (rows.astype(np.float64) ** 2).sum(axis=1))
    return g.ops("TopK", 2, products, ints(n), axis=1, largest=0, sorted=0)[1]


def _candidates_by_steps(g: Graph, x: str, rows: NDArray[np.float32], n: int) -> str:
    """The same by sums of absolute differences, one row of `x` after the other: all at once would take gigabytes."""
    body = Graph("row_")
    differences = body.op("Abs", body.op("Sub", g.constant(rows), "row"))
    sums = body.op("ReduceSum", differences, g.constant(ints(1)), keepdims=0)
    numbers = body.ops("TopK", 2, sums, g.constant(ints(n)), axis=0, largest=0, sorted=0)[1]
    inner = helper.make_graph(
        body.nodes,
        "row",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, [rows.shape[1]])],
        [helper.make_tensor_value_info(numbers, INT64, [n])],
    )
    return g.op("Scan", x, body=inner, num_scan_inputs=1)


def _exact_distances(g: Graph, x: str, candidates: str, metric: str) -> str:
    differences = g.op("Sub", candidates, g.op("Unsqueeze", x, ints(1)))
    if metric == "manhattan":
        return g.op("ReduceL1", differences, ints(2), keepdims=0)
    return g.op("ReduceL2", differences, ints(2), keepdims=0)


def _by_distance(g: Graph, distances: str) -> str:
    """Weigh by the reciprocals; where a distance is zero, rows at this distance alone."""
    is_same = g.cast(g.op("Equal", distances, np.float32(0)), FLOAT)
    any_same = g.op("ReduceMax", is_same, ints(1), keepdims=1)
    away = g.op("Reciprocal", g.op("Add", distances, is_same))
    return g.op("Where", g.op("Greater", any_same, np.float32(0)), is_same, away)
