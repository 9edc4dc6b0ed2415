"""An ensemble as one ONNX file, from pixels to probabilities, which runs without this package.

Each kind of estimator, transformer and layer has a converter; `converts` and `converts_layer` add one for a class of
one's own.
"""

from typing import TYPE_CHECKING

from fmnist_bench._utils.lazy import exports

if TYPE_CHECKING:
    from fmnist_bench.export.networks import converts_layer as converts_layer
    from fmnist_bench.export.registry import converts as converts
    from fmnist_bench.export.verb import export_onnx as export_onnx

_HOMES = {
    "converts": "fmnist_bench.export.registry",
    "converts_layer": "fmnist_bench.export.networks",
    "export_onnx": "fmnist_bench.export.verb",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = exports(__name__, _HOMES)
