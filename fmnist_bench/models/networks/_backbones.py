"""Pretrained networks: how each is built, and what pixels it expects."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from fmnist_bench.models.networks._efficientnet_lite0 import build_lite0, set_torch_weights
from fmnist_bench.models.networks._torch_weights import read_torch_weights
from fmnist_bench.models.networks._weights import find_weights

SMALLEST = 32  # pixels; less than that is gone before the last block


@dataclass(frozen=True)
class Backbone:
    """One pretrained network.

    Attributes
    ----------
    build : callable
        From an input shape to the network without classifier and weights.
    ends : str
        Pattern of the names of the operations that end its blocks.
    scale, offset : tuple of float
        Pixels of 0 to 255 times `scale` plus `offset` of each channel are what it was trained on.
    blue_first : bool
        Whether its channels are blue, green, red.
    """

    build: Callable[[tuple[int, int, int]], keras.Model]
    ends: str
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    blue_first: bool = False


def _resnet50(shape: tuple[int, int, int]) -> keras.Model:
    return keras.applications.ResNet50(include_top=False, weights=None, input_shape=shape)


def _convnext_tiny(shape: tuple[int, int, int]) -> keras.Model:
    return keras.applications.ConvNeXtTiny(
        include_top=False, weights=None, input_shape=shape, include_preprocessing=False
    )


BACKBONES = {
    "efficientnet_lite0": Backbone(
        build_lite0,
        r"block_\d+",
        (1 / 128,) * 3,
        (-127 / 128,) * 3,
    ),
    "resnet50": Backbone(
        _resnet50,
        r"conv\d_block\d_out",
        (1.0,) * 3,
        (-103.939, -116.779, -123.68),
        blue_first=True,
    ),
    "convnext_tiny": Backbone(
        _convnext_tiny,
        r"add(_\d+)?",
        (1 / 58.395, 1 / 57.12, 1 / 57.375),
        (-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375),
    ),
}


@keras.saving.register_keras_serializable("fmnist_bench")
class ToBackbone(keras.layers.Layer):  # type: ignore[misc]
    """Pixels of 0 to 255, gray or colour, as a backbone expects them: resized, three channels, on its scale.

    Parameters
    ----------
    image_size : int
        Height and width, pixels.
    scale, offset : sequence of float
        Of each channel, in the order red, green, blue, or the other way round with `blue_first`.
    blue_first : bool
    """

    def __init__(
        self,
        image_size: int,
        scale: Sequence[float],
        offset: Sequence[float],
        blue_first: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size, self.blue_first = image_size, blue_first
        self.scale, self.offset = tuple(scale), tuple(offset)

    def call(self, pixels: Any) -> Any:
        """Resize, make three channels, scale."""
        size = (self.image_size, self.image_size)
        x = keras.ops.image.resize(keras.ops.cast(pixels, "float32"), size, interpolation="bilinear")
        if x.shape[-1] == 1:
            x = keras.ops.repeat(x, 3, axis=-1)
        elif self.blue_first:
            x = keras.ops.flip(x, axis=-1)
        scale, offset = (keras.ops.convert_to_tensor(v, dtype="float32") for v in (self.scale, self.offset))
        return x * scale + offset

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the result."""
        return (input_shape[0], self.image_size, self.image_size, 3)

    def get_config(self) -> dict[str, Any]:
        """Arguments to build it again."""
        own = {"image_size": self.image_size, "scale": self.scale, "offset": self.offset}
        return {**super().get_config(), **own, "blue_first": self.blue_first}


def load_backbone(name: str, image_size: int, weights: str | None, weights_dir: str | None) -> keras.Model:
    """Build a backbone, with ImageNet weights or, where `weights` is None, with random ones.

    Raises
    ------
    ValueError
        Unknown name, images that are too small, a file that is not what it should be.
    NoWeights
        Where there are no weights, with the way to get them.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone={name!r}: must be one of {', '.join(BACKBONES)}")
    if image_size < SMALLEST:
        raise ValueError(f"image_size={image_size}: {name} needs at least {SMALLEST}")
    if weights not in ("imagenet", None):
        raise ValueError(f'weights={weights!r}: must be "imagenet", or None for random ones')
    backbone = BACKBONES[name]
    network = backbone.build((image_size, image_size, 3))
    if weights is not None:
        path = find_weights(name, weights_dir)
        if path.suffix == ".pth":
            set_torch_weights(network, read_torch_weights(path))
        else:
            network.load_weights(path)
    return network


def split_at(network: keras.Model, name: str, unfreeze: int) -> tuple[keras.Model, keras.Model | None]:
    """Split a backbone before its last `unfreeze` blocks: what stays as it is, and what is trained, if anything.

    Raises
    ------
    ValueError
        Where it has fewer blocks.
    """
    ends = [layer for layer in network.operations if re.fullmatch(BACKBONES[name].ends, layer.name)]
    if not 0 <= unfreeze < len(ends):
        raise ValueError(f"unfreeze={unfreeze}: {name} has {len(ends)} blocks, so 0 to {len(ends) - 1}")
    if unfreeze == 0:
        return network, None
    cut = ends[len(ends) - 1 - unfreeze].output
    return keras.Model(network.inputs[0], cut), keras.Model(cut, network.outputs[0], name="unfrozen")
