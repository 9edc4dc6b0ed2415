"""What the configuration of a saved network may name; all else is refused before Keras sees it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import keras

# Layers by their names in `keras.layers`: those that hold weights, or compute from tensors alone. Not among them is
# what runs code that a configuration names (Lambda, wrappers of other frameworks) or reads files (StringLookup, ...).
LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention AugMix
    AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
    CategoryEncoding CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D CutMix
    Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU
    GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity InputLayer
    LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MixUp
    MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract TimeDistributed UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()  # noqa: SIM905
)
MODELS = (keras.Model, keras.Sequential)
# Modules whose classes are no public names: networks of layers, those of ConvNeXt, and operations between tensors.
MODULES = (
    *("keras.src.models.functional", "keras.src.applications.convnext"),
    *(f"keras.src.ops.{name}" for name in ("einops", "image", "math", "nn", "numpy")),
)
KINDS = (  # what layers are given
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.DTypePolicy,
    keras.random.SeedGenerator,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
)
PUBLIC = (  # where older files, which name no module, mean their names to be found
    *(keras, keras.layers, keras.initializers, keras.regularizers, keras.constraints),
    *(keras.losses, keras.metrics, keras.optimizers),
)
FUNCTIONS = (keras.activations, keras.losses, keras.metrics)
FUNCTION_MODULES = (None, "builtins", *(f"keras.{name}" for name in ("activations", "losses", "metrics")))
FACTORIES = ("get", "deserialize", "serialize")
VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
NUMBERS = ("bool", "bfloat16", *(f"{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)))
LARGEST = 2**24  # of whole numbers, which become sizes of arrays
FREE_NUMBERS = ("seed", "shared_object_id")


def check_config(config: Any) -> None:
    """Refuse a configuration that names anything but parts of networks, or that speaks of huge arrays.

    Keras looks up what a configuration names among all that it offers, and calls it: functions that download files, and
    layers that read some, were found in its safe mode, too. Here pass the layers of a list, what layers are given,
    functions that networks have as activations and losses, and what the program itself has registered as serializable.

    Raises
    ------
    ValueError
    """
    refused = sorted({_full_name(entry) for entry in _entries(config) if not _is_part_of_a_network(entry)})
    if refused:
        raise ValueError(f"the network's configuration names what no network is made of: {', '.join(refused)}")
    if huge := [f"{key}={value}" for key, value in _numbers(config) if value > LARGEST and key not in FREE_NUMBERS]:
        raise ValueError(f"the network's configuration has a number above {LARGEST}: {huge[0]}")


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every table that names something, at any depth."""
    return (found for _, found in _everything(config) if isinstance(found, dict) and "class_name" in found)


def _numbers(config: Any) -> Iterator[tuple[str, int]]:
    return ((key, found) for key, found in _everything(config) if isinstance(found, int))


def _everything(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield all that a configuration holds, each with its key; what a list holds, with the list's."""
    left = [("", config)]
    while left:
        key, found = left.pop()
        yield key, found
        if isinstance(found, dict):
            left.extend(found.items())
        elif isinstance(found, list):
            left.extend((key, each) for each in found)


def _full_name(entry: dict[str, Any]) -> str:
    name = entry.get("config") if entry.get("class_name") == "function" else entry["class_name"]
    return f"{entry.get('module')}.{name}"


def _is_part_of_a_network(entry: dict[str, Any]) -> bool:
    name, registered = entry["class_name"], keras.saving.get_custom_objects()
    if not isinstance(name, str):
        return False
    if name in VALUES:
        return _is_value(entry.get("config"))
    if name == "function":
        return _is_function(entry, entry.get("config"))
    if (known := entry.get("registered_name")) is not None and known != name:  # one or the other is what Keras takes
        return isinstance(known, str) and getattr(registered.get(known), "__name__", None) == name
    return name in registered or any(_is_part(found) for found in _named(entry.get("module"), name))


def _is_value(config: Any) -> bool:
    """Whether an array, or the like, is one of numbers: text may be padded to any length."""
    return not isinstance(config, dict) or config.get("dtype", "bool") in NUMBERS


def _is_function(entry: dict[str, Any], name: Any) -> bool:
    if not isinstance(name, str) or entry.get("registered_name", name) not in (None, "function", name):
        return False
    if name in keras.saving.get_custom_objects():
        return True
    if entry.get("module") not in FUNCTION_MODULES or name in FACTORIES:
        return False
    return any(inspect.isfunction(vars(place).get(name)) for place in FUNCTIONS)


def _named(module: Any, name: str) -> Iterator[Any]:
    places = PUBLIC if module is None else [sys.modules.get(module)] if _is_of_keras(module) else []
    yield from (vars(place)[name] for place in places if place is not None and name in vars(place))


def _is_of_keras(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "keras"


def _is_part(found: Any) -> bool:
    if not isinstance(found, type):
        return False
    if issubclass(found, keras.Operation):
        listed = found.__name__ in LAYERS and found is getattr(keras.layers, found.__name__, None)
        return listed or found in MODELS or found.__module__ in MODULES
    return issubclass(found, KINDS)
