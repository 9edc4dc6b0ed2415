"""Which function converts which class: by its dotted name, so that no class is imported before it is met."""

from collections.abc import Callable
from typing import Any, TypeVar

from fmnist_bench._utils.errors import InputError

Converter = Callable[..., Any]
Function = TypeVar("Function", bound=Converter)
METHODS = ("predict_proba", "decision_function", "transform")

_converters: dict[tuple[str, str], Converter] = {}


class NotExportableError(InputError):
    """An estimator, or a part of one, has no converter; the message says which."""


def converts(name: str, method: str = "predict_proba") -> Callable[[Function], Function]:
    """Register a converter for a class of estimators or transformers, and what derives from it.

    Parameters
    ----------
    name : str
        Module in which the class is defined, and its name.
    method : {"predict_proba", "decision_function", "transform"}
        What the converter computes. Class probabilities are float32 of shape (n, n_classes) in the order of
        ``classes_``; scores of two classes have one column.

    Returns
    -------
    decorator
        Of a function ``(graph, estimator, x) -> y`` of a `Graph`, the fitted estimator and the name of the tensor with
        its rows, which adds operators to the graph and returns the name of their result.

    Examples
    --------
    >>> @converts("my_package.models.Doubled", "transform")
    ... def doubled(graph, estimator, x):
    ...     return graph.op("Mul", x, np.float32(2))
    """

    def register(function: Function) -> Function:
        _converters[name, method] = function
        return function

    return register


def converter_of(estimator: Any, method: str) -> Converter | None:
    """Find the converter of an estimator's class, or of the nearest class that it derives from."""
    found = (_converters.get((f"{kind.__module__}.{kind.__qualname__}", method)) for kind in type(estimator).__mro__)
    return next((converter for converter in found if converter is not None), None)
