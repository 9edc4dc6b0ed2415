"""The whole ensemble as a graph: members, their temperatures, weighted mean or stacker, labels."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

import fmnist_bench.export.classifiers
import fmnist_bench.export.features
import fmnist_bench.export.layers
import fmnist_bench.export.networks
import fmnist_bench.export.trees  # noqa: F401
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.version import __version__
from fmnist_bench.export.graph import FLOAT, INT64, STRING, UINT8, Graph
from fmnist_bench.export.pipelines import convert, normalised
from fmnist_bench.export.registry import NotExportableError

LEAST, LEAST_STACKED = 1e-15, 1e-6  # probabilities whose logarithms are taken, as in `ensemble.selection`


def unsupported(ensemble: Any) -> dict[str, str]:
    """Say which members cannot be converted, and why."""
    found = {}
    for name, model in ensemble.members_:
        try:
            convert(Graph(), model, "X")
        except NotExportableError as error:
            found[name] = str(error)
    return found


def to_model(ensemble: Any, members_too: bool = False) -> onnx.ModelProto:
    """Make an ONNX model of a fitted ensemble.

    Parameters
    ----------
    ensemble : StackedEnsemble
        Fitted on whole numbers of 0 to 255.
    members_too : bool
        Whether the probabilities of each member are outputs, too: ``member_0`` and so on.

    Returns
    -------
    ModelProto
        Input ``X``, uint8 of shape (n, height, width[, channels]), or (n, n_pixels) where the shape of images is not
        known. Outputs ``probabilities``, float32 of shape (n, n_classes), and ``labels`` of shape (n,).

    Raises
    ------
    NotExportableError
    InputError
        Where the ensemble was not fitted on pixels.
    """
    if not ensemble.pixels_:
        raise InputError(
            "the ensemble was not fitted on pixels, whole numbers from 0 to 255, which the file would take"
        )
    g, n_classes = Graph(), len(ensemble.classes_)
    rows = g.reshape("X", -1, int(ensemble.n_features_in_))
    members = [_aligned(g, ensemble, model, rows) for _, model in ensemble.members_]
    probabilities = _combined(g, ensemble, members)
    words = ensemble.classes_.dtype.kind not in "biu"
    known = ensemble.classes_.astype(object if words else np.int64)
    labels = g.op("Gather", known, g.op("ArgMax", probabilities, axis=1, keepdims=0))
    outputs = {
        "probabilities": (probabilities, helper.make_tensor_value_info("probabilities", FLOAT, ["n", n_classes])),
        "labels": (labels, helper.make_tensor_value_info("labels", STRING if words else INT64, ["n"])),
    }
    if members_too:
        names = {f"member_{i}": each for i, each in enumerate(members)}
        infos = {name: helper.make_tensor_value_info(name, FLOAT, ["n", n_classes]) for name in names}
        outputs |= {name: (each, infos[name]) for name, each in names.items()}
    shape = ensemble.image_shape_ or (int(ensemble.n_features_in_),)
    return g.model([helper.make_tensor_value_info("X", UINT8, ["n", *shape])], outputs, _about(ensemble))


def _about(ensemble: Any) -> dict[str, str]:
    weights = {name: float(w) for (name, _), w in zip(ensemble.members_, ensemble.weights_, strict=True)}
    return {
        "class_names": json.dumps(ensemble.class_names_, ensure_ascii=False),
        "members": json.dumps(weights),
        "fmnist_bench": __version__,
        "input": "whole numbers of 0 to 255, on the scale and with the background of the train rows",
    }


def _aligned(g: Graph, ensemble: Any, model: Any, rows: str) -> str:
    """Probabilities in the columns of the ensemble; zero for a class that the member has not seen."""
    found = convert(g, model, rows)
    known = np.arange(len(ensemble.classes_)) if ensemble.encoded_ else ensemble.classes_
    places = np.searchsorted(known, model.classes_)
    if np.array_equal(places, np.arange(len(known))):
        return found
    spread = np.zeros((len(places), len(known)), dtype=np.float32)
    spread[np.arange(len(places)), places] = 1
    return g.affine(found, spread)


def _combined(g: Graph, ensemble: Any, members: Sequence[str]) -> str:
    if ensemble.stacker_ is not None:
        logs = [g.op("Log", g.op("Max", each, np.float32(LEAST_STACKED))) for each in members]
        stacked = convert(g, ensemble.stacker_, g.op("Concat", *logs, axis=1))
        found = _in_all_columns(g, stacked, ensemble.stacker_.classes_, len(ensemble.classes_))
    else:
        temperatures = ensemble.member_temperatures_
        scaled = [with_temperature(g, each, float(t)) for each, t in zip(members, temperatures, strict=True)]
        parts = [g.op("Mul", each, np.float32(w)) for each, w in zip(scaled, ensemble.weights_, strict=True)]
        found = normalised(g, g.op("Sum", *parts))
    return with_temperature(g, found, float(ensemble.temperature_))


def _in_all_columns(g: Graph, x: str, codes: Any, n_classes: int) -> str:
    return x if len(codes) == n_classes else g.affine(x, np.eye(n_classes, dtype=np.float32)[codes])


def with_temperature(g: Graph, x: str, temperature: float) -> str:
    """Divide the logarithms of probabilities by a temperature."""
    if temperature == 1:
        return x
    logs = g.op("Log", g.op("Max", x, np.float32(LEAST)))
    return g.op("Softmax", g.op("Mul", logs, np.float32(1 / temperature)), axis=1)
