"""Layers of Keras, and this package's own, as ONNX operators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.export.graph import Graph, ints
from fmnist_bench.export.networks import Value, channels_last, converts_layer, planes_of
from fmnist_bench.export.registry import NotExportableError

Values = Sequence[Value]
Planes = tuple[str, bool]
FUNCTIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "elu": "Elu",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "exponential": "Exp",
}


def activate(g: Graph, x: str, function: Any, planes: bool = False) -> str:
    """Apply an activation function of Keras."""
    name = getattr(function, "__name__", str(function))
    if name in ("linear", "None"):
        return x
    if name in FUNCTIONS:
        return g.op(FUNCTIONS[name], x)
    if name == "softmax":
        return g.op("Softmax", x, axis=1 if planes else -1)
    if name in ("silu", "swish"):
        return g.op("Mul", x, g.op("Sigmoid", x))
    if name == "relu6":
        return g.op("Clip", x, np.float32(0), np.float32(6))
    if name == "gelu":
        error = g.op("Erf", g.op("Mul", x, np.float32(np.sqrt(0.5))))
        return g.op("Mul", g.op("Mul", x, np.float32(0.5)), g.op("Add", error, np.float32(1)))
    raise NotExportableError(f"activation {name} has no converter")


@converts_layer(
    "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "Identity", "StochasticDepth", "InputLayer",
    "keras.applications.convnext>StochasticDepth",
    "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "RandomContrast", "RandomErasing",
)  # fmt: skip
def identity(g: Graph, layer: Any, values: Values) -> str:
    """Pass on: these do something in training alone."""
    return values[0].name


@converts_layer("Activation")
def activation(g: Graph, layer: Any, values: Values) -> str:
    """Apply its function."""
    return activate(g, values[0].name, layer.activation, values[0].planes)


@converts_layer("ReLU")
def relu(g: Graph, layer: Any, values: Values) -> str:
    """Cut off below, perhaps above."""
    if layer.negative_slope or layer.threshold:
        raise NotExportableError(f"layer {layer.name}: a ReLU with a slope or a threshold has no converter")
    if layer.max_value is None:
        return g.op("Relu", values[0].name)
    return g.op("Clip", values[0].name, np.float32(0), np.float32(layer.max_value))


@converts_layer("LeakyReLU")
def leaky_relu(g: Graph, layer: Any, values: Values) -> str:
    """Flatten what is negative."""
    return g.op("LeakyRelu", values[0].name, alpha=float(layer.negative_slope))


@converts_layer("Rescaling")
def rescaling(g: Graph, layer: Any, values: Values) -> str:
    """Multiply and add."""
    scale, offset = (_by_channel(each, values[0]) for each in (layer.scale, layer.offset))
    return g.op("Add", g.op("Mul", values[0].name, scale), offset)


def _by_channel(numbers: Any, value: Value) -> NDArray[np.float32]:
    """One number, or one for each channel, so that they line up with a tensor."""
    array = np.asarray(numbers, dtype=np.float32)
    return array.reshape(-1, 1, 1) if value.planes and array.ndim else array


@converts_layer("Conv2D")
def convolution(g: Graph, layer: Any, values: Values) -> Planes:
    """Convolve."""
    bias = _array(layer.bias) if layer.use_bias else None
    x = _convolve(g, planes_of(g, values[0]), _array(layer.kernel), bias, layer, layer.groups)
    return activate(g, x, layer.activation, planes=True), True


@converts_layer("DepthwiseConv2D", "fmnist_bench>SmallPlaneDepthwiseConv2D")
def depthwise_convolution(g: Graph, layer: Any, values: Values) -> Planes:
    """Filter each channel by itself."""
    bias = _array(layer.bias) if layer.use_bias else None
    x = _depthwise(g, planes_of(g, values[0]), _array(layer.kernel), bias, layer)
    return activate(g, x, layer.activation, planes=True), True


@converts_layer("SeparableConv2D")
def separable_convolution(g: Graph, layer: Any, values: Values) -> Planes:
    """Filter each channel by itself, then mix the channels."""
    x = _depthwise(g, planes_of(g, values[0]), _array(layer.depthwise_kernel), None, layer)
    bias = _array(layer.bias) if layer.use_bias else None
    return activate(g, _mix(g, x, _array(layer.pointwise_kernel)[0, 0], bias), layer.activation, planes=True), True


@converts_layer("fmnist_bench>PatchWhitening")
def patch_whitening(g: Graph, layer: Any, values: Values) -> Planes:
    """Coordinates of the patches."""
    kernel = _array(layer.kernel).transpose(3, 2, 0, 1)
    return g.op("Conv", planes_of(g, values[0]), kernel), True


def _depthwise(g: Graph, x: str, kernel: NDArray[Any], bias: Any, layer: Any) -> str:
    height, width, channels, multiplier = kernel.shape
    filters = kernel.reshape(height, width, 1, channels * multiplier)
    return _convolve(g, x, filters, bias, layer, groups=channels)


def _convolve(g: Graph, x: str, kernel: NDArray[Any], bias: Any, layer: Any, groups: int = 1) -> str:
    given = [x, kernel.transpose(3, 2, 0, 1), *([] if bias is None else [bias])]
    how: dict[str, Any] = {"strides": list(layer.strides), "dilations": list(layer.dilation_rate), "group": groups}
    return g.op("Conv", *given, auto_pad=_padding(layer), **how)


def _mix(g: Graph, x: str, weights: NDArray[Any], bias: Any) -> str:
    """Convolve with a single pixel."""
    return g.op("Conv", x, weights.T[:, :, None, None], *([] if bias is None else [bias]))


def _padding(layer: Any) -> str:
    return {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]


def _array(variable: Any) -> NDArray[np.float32]:
    return np.asarray(variable.numpy(), dtype=np.float32)


@converts_layer("Dense")
def dense(g: Graph, layer: Any, values: Values) -> str | Planes:
    """Multiply rows, or the channels of each pixel."""
    bias = _array(layer.bias) if layer.use_bias else None
    if len(values[0].shape) == 3:
        x = _mix(g, planes_of(g, values[0]), _array(layer.kernel), bias)
        return activate(g, x, layer.activation, planes=True), True
    return activate(g, g.affine(values[0].name, _array(layer.kernel), bias), layer.activation)


@converts_layer("BatchNormalization", "fmnist_bench>FusedBatchNormalization")
def batch_normalization(g: Graph, layer: Any, values: Values) -> Planes:
    """Normalise each channel by the statistics of the training."""
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    gamma = np.ones_like(mean) if layer.gamma is None else _array(layer.gamma)
    beta = np.zeros_like(mean) if layer.beta is None else _array(layer.beta)
    if len(values[0].shape) == 3:
        x = planes_of(g, values[0])
        return g.op("BatchNormalization", x, gamma, beta, mean, variance, epsilon=float(layer.epsilon)), True
    scale = gamma / np.sqrt(variance + np.float32(layer.epsilon))
    return g.op("Add", g.op("Mul", values[0].name, scale), beta - mean * scale), False


@converts_layer("LayerNormalization")
def layer_normalization(g: Graph, layer: Any, values: Values) -> Planes:
    """Normalise the channels of each pixel."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if list(axes) not in ([-1], [len(values[0].shape)]):
        raise NotExportableError(f"layer {layer.name}: only over the last axis has it a converter")
    gamma = np.ones(values[0].shape[-1], np.float32) if layer.gamma is None else _array(layer.gamma)
    given: list[Any] = [channels_last(g, values[0]), gamma, *([] if layer.beta is None else [_array(layer.beta)])]
    return g.op("LayerNormalization", *given, axis=-1, epsilon=float(layer.epsilon)), False


@converts_layer("LayerScale", "keras.applications.convnext>LayerScale")
def layer_scale(g: Graph, layer: Any, values: Values) -> str:
    """Scale each channel."""
    return g.op("Mul", values[0].name, _by_channel(_array(layer.gamma), values[0]))


@converts_layer("MaxPooling2D", "AveragePooling2D")
def pooling(g: Graph, layer: Any, values: Values) -> Planes:
    """Take the maximum, or the mean, of each window."""
    how: dict[str, Any] = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    kind = "MaxPool" if type(layer).__name__.startswith("Max") else "AveragePool"
    return g.op(kind, planes_of(g, values[0]), auto_pad=_padding(layer), **how), True


@converts_layer("GlobalMaxPooling2D", "GlobalAveragePooling2D")
def global_pooling(g: Graph, layer: Any, values: Values) -> Planes:
    """Take the maximum, or the mean, of each channel."""
    kind = "GlobalMaxPool" if type(layer).__name__.startswith("GlobalMax") else "GlobalAveragePool"
    pooled = g.op(kind, planes_of(g, values[0]))
    return (pooled, True) if layer.keepdims else (g.reshape(pooled, -1, values[0].shape[-1]), False)


@converts_layer("Flatten")
def flatten(g: Graph, layer: Any, values: Values) -> Planes:
    """Make rows."""
    return g.reshape(channels_last(g, values[0]), -1, int(np.prod(values[0].shape))), False


@converts_layer("Reshape")
def reshape(g: Graph, layer: Any, values: Values) -> Planes:
    """Change the shape."""
    return g.reshape(channels_last(g, values[0]), -1, *layer.compute_output_shape((None, *values[0].shape))[1:]), False


@converts_layer("ZeroPadding2D")
def zero_padding(g: Graph, layer: Any, values: Values) -> Planes:
    """Add black edges."""
    (top, bottom), (left, right) = layer.padding
    return g.op("Pad", planes_of(g, values[0]), ints(0, 0, top, left, 0, 0, bottom, right)), True


@converts_layer("Add", "Multiply", "Average", "Maximum")
def merge(g: Graph, layer: Any, values: Values) -> Planes:
    """Add up, multiply, take mean or maximum."""
    kind = {"Add": "Sum", "Average": "Mean", "Maximum": "Max"}.get(type(layer).__name__)
    names = [planes_of(g, each) for each in values]
    images = len(values[0].shape) == 3
    if kind is not None:
        return g.op(kind, *names), images
    product = names[0]
    for each in names[1:]:
        product = g.op("Mul", product, each)
    return product, images


@converts_layer("Concatenate")
def concatenate(g: Graph, layer: Any, values: Values) -> Planes:
    """Put the channels one after another."""
    if layer.axis not in (-1, len(values[0].shape)):
        raise NotExportableError(f"layer {layer.name}: only along the last axis has it a converter")
    return g.op("Concat", *(planes_of(g, each) for each in values), axis=1), len(values[0].shape) == 3


@converts_layer("fmnist_bench>ToBackbone")
def to_backbone(g: Graph, layer: Any, values: Values) -> Planes:
    """Resize, make three channels, scale."""
    height, width, channels = values[0].shape
    factors = np.array([1, 1, layer.image_size / height, layer.image_size / width], np.float32)
    x = g.op("Resize", planes_of(g, values[0]), "", factors, mode="linear", coordinate_transformation_mode="half_pixel")
    if channels == 1:
        x = g.op("Concat", x, x, x, axis=1)
    elif layer.blue_first:
        x = g.op("Gather", x, ints(2, 1, 0), axis=1)
    scale, offset = (np.array(each, np.float32).reshape(-1, 1, 1) for each in (layer.scale, layer.offset))
    return g.op("Add", g.op("Mul", x, scale), offset), True
