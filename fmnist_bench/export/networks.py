"""Keras networks, layer by layer: from their configuration and weights, whatever back end runs them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fmnist_bench.data.pixels import shape_of_images
from fmnist_bench.export.graph import FLOAT, Graph, ints
from fmnist_bench.export.pipelines import normalised
from fmnist_bench.export.registry import NotExportableError, converts


@dataclass(frozen=True)
class Value:
    """A tensor between two layers.

    Attributes
    ----------
    name : str
    shape : tuple of int
        As in Keras, without the batch: channels are last.
    planes : bool
        Whether the tensor has its channels first, as ONNX's convolutions take them.
    """

    name: str
    shape: tuple[int, ...]
    planes: bool = False


LayerConverter = Callable[[Graph, Any, Sequence[Value]], str | tuple[str, bool]]
Function = TypeVar("Function", bound=LayerConverter)

_layers: dict[str, LayerConverter] = {}


def converts_layer(*names: str) -> Callable[[Function], Function]:
    """Register a converter for layers of these names.

    Parameters
    ----------
    *names : str
        As Keras saves them: ``Conv2D``, ``my_package>MyLayer``.

    Returns
    -------
    decorator
        Of a function ``(graph, layer, values) -> name``, or ``-> (name, planes)`` where the tensor has its channels at
        another place than that of the first of its inputs.
    """

    def register(function: Function) -> Function:
        _layers.update(dict.fromkeys(names, function))
        return function

    return register


def planes_of(g: Graph, value: Value) -> str:
    """Give images with their channels first."""
    return value.name if value.planes or len(value.shape) != 3 else g.op("Transpose", value.name, perm=[0, 3, 1, 2])


def channels_last(g: Graph, value: Value) -> str:
    """Give a tensor as Keras has it."""
    return g.op("Transpose", value.name, perm=[0, 2, 3, 1]) if value.planes else value.name


def layer(g: Graph, part: Any, values: Sequence[Value], entry: dict[str, Any]) -> Value:
    """Add a layer, or a network within one."""
    kind = entry.get("registered_name") or entry["class_name"]
    kind = kind if kind in _layers else entry["class_name"]
    if kind in ("Functional", "Sequential"):
        return network(g, part, values[0])
    if kind not in _layers:
        raise NotExportableError(f"layer {entry['config'].get('name', '?')} of kind {kind} has no converter")
    if entry["config"].get("data_format", "channels_last") != "channels_last":
        raise NotExportableError(f"layer {entry['config']['name']} has its channels first, which has no converter")
    found = _layers[kind](g, part, values)
    name, planes = found if isinstance(found, tuple) else (found, values[0].planes)
    return Value(name, _output_shape(part, [(None, *value.shape) for value in values]), planes)


def _output_shape(part: Any, shapes: list[tuple[int | None, ...]]) -> tuple[int, ...]:
    try:
        shape = part.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)
    except (
        AttributeError,
        NotImplementedError,
    ):  # an operation, or a layer that leaves it to its call: ConvNeXt has both
        shape = part.output.shape
    return tuple(shape[1:])


def network(g: Graph, model: Any, value: Value) -> Value:
    """Add a network of one input and one output."""
    config = model.get_config()
    parts = {each.name: each for each in model.layers}
    parts |= {each.name: each for each in getattr(model, "operations", ())}
    entries = {_name(entry): entry for entry in config["layers"]}
    if "output_layers" not in config:  # a Sequential
        for name, entry in entries.items():
            value = value if entry["class_name"] == "InputLayer" else layer(g, parts[name], [value], entry)
        return value
    ends = [_flat(config[key]) for key in ("input_layers", "output_layers")]
    if any(len(each) != 3 for each in ends):
        raise NotExportableError("a network of several inputs or outputs has no converter")
    (first, *_), (last, node, _) = ends
    known = {(first, 0): value}

    def value_of(name: str, number: int) -> Value:
        calls = entries[name]["inbound_nodes"]
        number = min(number, max(len(calls) - 1, 0))  # a layer may have been called in other networks before
        if (name, number) not in known:
            inputs = [value_of(*each) for each in _inputs(calls[number])]
            known[name, number] = layer(g, parts[name], inputs, entries[name])
        return known[name, number]

    return value_of(last, node)


def _name(entry: dict[str, Any]) -> str:
    return str(entry.get("name") or entry["config"]["name"])


def _flat(found: Any) -> list[Any]:
    return [each for part in found for each in _flat(part)] if isinstance(found, list | tuple) else [found]


def _inputs(node: Any) -> list[tuple[str, int]]:
    """Layers, and their calls, whose outputs a call takes."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        name, number, _ = node["config"]["keras_history"]
        return [(name, number)]
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [found for part in parts for found in _inputs(part)]


@converts("fmnist_bench.models.networks._base.KerasClassifier")
def keras_classifier(g: Graph, estimator: Any, x: str) -> str:
    """Softmax of the logits; with mirror images the mean of both, which pass through the network as one batch."""
    shape, mirrored = _images(estimator), estimator.flip_average and estimator.flip_average_
    images = g.reshape(g.cast(x, FLOAT), -1, *shape)
    if mirrored:
        images = g.op("Concat", images, g.op("Slice", images, ints(-1), ints(-(2**31)), ints(2), ints(-1)), axis=0)
    shares = g.op("Softmax", network(g, estimator.network_, Value(images, shape)).name, axis=1)
    return g.op("Mean", *g.ops("Split", 2, shares, axis=0, num_outputs=2)) if mirrored else shares


def _images(estimator: Any) -> tuple[int, int, int]:
    return shape_of_images(int(estimator.n_features_in_), estimator.image_shape_)


@converts("fmnist_bench.models.networks.hypermodel.HyperModelClassifier")
def hypermodel_classifier(g: Graph, estimator: Any, x: str) -> str:
    """Probabilities of a network whose outputs are logits or probabilities, of each class or of the second one."""
    shape = _images(estimator)
    own = tuple(estimator.network_.input_shape[1:])
    shape = own if None not in own and np.prod(own) == np.prod(shape) else shape
    divided = g.op("Div", g.cast(x, FLOAT), np.float32(estimator.divide_by))
    found = network(g, estimator.network_, Value(g.reshape(divided, -1, *shape), shape))
    outputs = found.name
    if found.shape[-1] == 1:
        first = g.op("Sub", outputs if estimator.logits_ else np.float32(1), outputs)
        outputs = g.op("Concat", first, outputs, axis=1)
    return g.op("Softmax", outputs, axis=1) if estimator.logits_ else normalised(g, outputs)
