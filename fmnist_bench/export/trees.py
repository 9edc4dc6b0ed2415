"""Decision trees, forests and boosted trees as one operator each."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from fmnist_bench.export.graph import FLOAT, Graph
from fmnist_bench.export.registry import NotExportableError, converts


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree, its nodes as arrays of shape (n_nodes,).

    Attributes
    ----------
    left, right : ndarray of int
        Numbers of the nodes below; of leaves anything.
    feature : ndarray of int
    threshold : ndarray of float32
        Rows that are less, or not more, go left.
    is_leaf : ndarray of bool
    leaf, target, weight : ndarray of shape (n_weights,)
        Number of a leaf, and what it adds to which output.
    """

    left: NDArray[Any]
    right: NDArray[Any]
    feature: NDArray[Any]
    threshold: NDArray[np.float32]
    is_leaf: NDArray[np.bool_]
    leaf: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[Any]


def ensemble_of_trees(g: Graph, x: str, trees: Iterable[Tree], n_targets: int, mode: str, base: NDArray[Any]) -> str:
    """Add trees, whose outputs are summed up, to a graph.

    Parameters
    ----------
    g : Graph
    x : str
        Rows.
    trees : iterable of Tree
    n_targets : int
    mode : {"BRANCH_LT", "BRANCH_LEQ"}
        Whether rows go left that are less than the threshold, or not more.
    base : ndarray of shape (n_targets,)
        What the outputs begin with.

    Returns
    -------
    str
        Tensor of shape (n, n_targets).
    """
    columns: dict[str, list[NDArray[Any]]] = {}
    for number, tree in enumerate(trees):
        for name, values in _columns(number, tree, mode).items():
            columns.setdefault(name, []).append(values)
    attributes = {name: np.concatenate(parts).tolist() for name, parts in columns.items()}
    return g.op(
        "TreeEnsembleRegressor",
        g.cast(x, FLOAT),
        domain="ai.onnx.ml",
        n_targets=n_targets,
        base_values=[float(each) for each in base],
        **attributes,
    )


def _columns(number: int, tree: Tree, mode: str) -> dict[str, NDArray[Any]]:
    n, n_weights, inner = len(tree.left), len(tree.leaf), ~tree.is_leaf
    return {
        "nodes_treeids": np.full(n, number),
        "nodes_nodeids": np.arange(n),
        "nodes_featureids": np.where(inner, tree.feature, 0),
        "nodes_values": np.where(inner, tree.threshold, np.float32(0)).astype(np.float32),
        "nodes_modes": np.where(inner, mode, "LEAF"),
        "nodes_truenodeids": np.where(inner, tree.left, 0),
        "nodes_falsenodeids": np.where(inner, tree.right, 0),
        "target_treeids": np.full(n_weights, number),
        "target_nodeids": tree.leaf,
        "target_ids": tree.target,
        "target_weights": tree.weight.astype(np.float32),
    }


def rounded_down(thresholds: NDArray[Any]) -> NDArray[np.float32]:
    """Largest float32 that is not more: a float32 is at most the one where it is at most the other."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


@converts("sklearn.ensemble._forest.ForestClassifier")
@converts("sklearn.tree._classes.DecisionTreeClassifier")
def forest(g: Graph, model: Any, x: str) -> str:
    """Mean of the class shares in the leaves."""
    if np.ndim(model.n_classes_):
        raise NotExportableError(f"{type(model).__name__}: several labels a row have no converter")
    trees = [each.tree_ for each in getattr(model, "estimators_", [model])]
    n = len(model.classes_)
    found = (_of_sklearn(tree, len(trees)) for tree in trees)
    return ensemble_of_trees(g, x, found, n, "BRANCH_LEQ", np.zeros(n))


def _of_sklearn(tree: Any, n_trees: int) -> Tree:
    is_leaf = tree.children_left == -1
    shares = tree.value[:, 0, :] * is_leaf[:, None]
    shares = shares / np.maximum(tree.value[:, 0, :].sum(axis=1, keepdims=True), 1e-300) / n_trees
    leaf, target = np.nonzero(shares)
    below = tree.children_left, tree.children_right, tree.feature
    return Tree(*below, rounded_down(tree.threshold), is_leaf, leaf, target, shares[leaf, target])


@converts("sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier")
def hist_gradient_boosting(g: Graph, model: Any, x: str) -> str:
    """Softmax, or logistic function, of the summed leaves."""
    if model._preprocessor is not None:
        raise NotExportableError("HistGradientBoostingClassifier: categorical features have no converter")
    n = model.n_trees_per_iteration_
    found = (_of_histograms(each.nodes, k) for trees in model._predictors for k, each in enumerate(trees))
    raw = ensemble_of_trees(g, x, found, n, "BRANCH_LEQ", np.ravel(model._baseline_prediction))
    return _probabilities(g, raw, n)


def _of_histograms(nodes: Any, target: int) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    below, leaf = (nodes["left"], nodes["right"], nodes["feature_idx"]), np.flatnonzero(is_leaf)
    thresholds = rounded_down(nodes["num_threshold"])
    return Tree(*below, thresholds, is_leaf, leaf, np.full(len(leaf), target), nodes["value"][leaf])


@converts("xgboost.sklearn.XGBClassifier")
def xgboost(g: Graph, model: Any, x: str) -> str:
    """Softmax, or logistic function, of the summed leaves, up to the best round."""
    learner = json.loads(model.get_booster().save_raw("json"))["learner"]
    booster, objective = learner["gradient_booster"], learner["objective"]["name"]
    if objective not in ("multi:softprob", "multi:softmax", "binary:logistic") or booster["name"] != "gbtree":
        raise NotExportableError(f"{type(model).__name__}: {booster['name']} with {objective} has no converter")
    n = 1 if objective == "binary:logistic" else len(model.classes_)
    base = np.array(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float64).ravel()
    start = logit(base) if n == 1 else base
    best = getattr(model, "best_iteration", None)
    found = _of_xgboost(booster["model"], None if best is None else best + 1)
    return _probabilities(g, ensemble_of_trees(g, x, found, n, "BRANCH_LT", np.broadcast_to(start, n)), n)


def _of_xgboost(model: Any, rounds: int | None) -> Iterator[Tree]:
    starts = model["iteration_indptr"]
    end = starts[-1] if rounds is None else starts[min(rounds, len(starts) - 1)]
    for tree, target in zip(model["trees"][:end], model["tree_info"], strict=False):
        if tree["categories"] or int(tree["tree_param"].get("size_leaf_vector", 0)) > 1:
            raise NotExportableError("XGBoost: categorical features, and trees of several outputs, have no converter")
        left, right, feature = (np.array(tree[k]) for k in ("left_children", "right_children", "split_indices"))
        values, is_leaf = np.array(tree["split_conditions"], dtype=np.float32), left == -1
        leaf = np.flatnonzero(is_leaf)
        yield Tree(left, right, feature, values, is_leaf, leaf, np.full(len(leaf), target), values[leaf])


def _probabilities(g: Graph, raw: str, n: int) -> str:
    if n > 1:
        return g.op("Softmax", raw, axis=1)
    second = g.op("Sigmoid", raw)
    return g.op("Concat", g.op("Sub", np.float32(1), second), second, axis=1)
