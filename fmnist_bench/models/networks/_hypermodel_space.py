"""What a `keras_tuner.HyperModel` may ask for, found out by building its network again and again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import hyperparameters as kinds

from fmnist_bench.models.networks._backend import as_keras_ships
from fmnist_bench.models.networks._hypermodel_network import bare
from fmnist_bench.models.networks._saved import from_bytes, to_bytes

MOST_BUILDS = 40  # networks that are built; a space that shows itself more slowly is searched as far as it is known

Values = dict[str, Any]


def discover(hypermodel: keras_tuner.HyperModel) -> list[dict[str, Any]]:
    """Find out what a HyperModel may ask for, by building its network with one value after the other.

    As KerasTuner does when it populates a space, every conditional scope is entered. What is asked for without a scope
    is found with every choice and the upper end of every whole number; KerasTuner meets it while it searches.

    Returns
    -------
    list of dict
        `name`; `choices`, or `low`, `high`, `log` and `step`; `when`, a list of pairs of the name of another
        hyperparameter and those of its values with which this one takes part. It stands after those.

    Raises
    ------
    ValueError
        Where `build` does not give a network that can be saved and loaded, or one name has several ranges.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting: list[Values] = [{}]
    tried: list[Values] = []
    while waiting and len(tried) < MOST_BUILDS:
        if (values := waiting.pop(0)) not in tried:
            tried.append(values)
            space = _space_shown(hypermodel, values)
            new = [parameter for parameter in space.space if _add(parameter, found) and space.is_active(parameter)]
            scopes = [{condition.name: condition.values[0] for condition in scope} for scope in space.inactive_scopes]
            extremes = [{parameter.name: value} for parameter in new for value in _extremes(parameter)]
            waiting = [{**values, **more} for more in scopes] + waiting + [{**values, **more} for more in extremes]
    return list(found.values())


def build_network(hypermodel: keras_tuner.HyperModel, space: keras_tuner.HyperParameters) -> keras.Model:
    """Let a HyperModel say what it asks for and build its network, which must be one."""
    hypermodel.declare_hyperparameters(space)
    network = hypermodel.build(space)
    if not isinstance(network, keras.Model):
        raise ValueError(f"{type(hypermodel).__qualname__}.build must return a keras.Model, found {network!r}")
    return network


def _space_shown(hypermodel: keras_tuner.HyperModel, values: Values) -> keras_tuner.HyperParameters:
    """Give what is asked for with these values; without any, the network must be one that can be saved and loaded."""
    space = keras_tuner.HyperParameters()
    space.values = dict(values)
    try:
        with as_keras_ships():
            network = build_network(hypermodel, space)
            if not values:
                from_bytes(to_bytes(bare(network)))
    except Exception:  # of some values alone: those trials will fail, with its reason
        if not values:
            raise
    keras.utils.clear_session()
    return space


def _add(parameter: Any, found: dict[str, dict[str, Any]]) -> bool:
    """Add to what is known and say whether it is new; of two ranges in one scope the first counts, as in KerasTuner."""
    when = [[condition.name, list(condition.values)] for condition in parameter.conditions]
    entry = {"name": parameter.name, **_values(parameter), "when": when}
    known = found.setdefault(parameter.name, entry)
    if known["when"] != when:
        if {**known, "when": when} != entry:
            raise ValueError(f"{parameter.name} has other values in another scope: give each a name of its own")
        known["when"] = []  # asked for in several scopes: it always takes part
    return known is entry


def _extremes(parameter: Any) -> Iterator[Any]:
    """Values with which a network may well ask for more than by default."""
    if isinstance(parameter, (kinds.Choice, kinds.Boolean)):
        yield from (value for value in parameter.values if value != parameter.default)
    elif isinstance(parameter, kinds.Int) and parameter.max_value != parameter.default:
        yield parameter.max_value


def _values(parameter: Any) -> dict[str, Any]:
    """Write the values of a hyperparameter as a study does; a reverse logarithmic scale becomes a linear one."""
    if isinstance(parameter, (kinds.Choice, kinds.Boolean, kinds.Fixed)):
        return {"choices": list(parameter.values)}
    kind = int if isinstance(parameter, kinds.Int) else float
    low, high, step = kind(parameter.min_value), kind(parameter.max_value), parameter.step
    if step is not None and parameter.sampling != "linear":
        return {"choices": [kind(round(value, 12)) for value in parameter.values]}
    if step is not None:
        high = kind(round(low + math.floor((high - low) / step + 1e-9) * step, 12))
    if low == high:
        return {"choices": [low]}
    each = kind is int and step == 1
    return {"low": low, "high": high, "log": parameter.sampling == "log", "step": None if each else step}
