"""Studies of users' HyperModels: a worker finds out what one asks for, which becomes the study's ranges."""

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.building import ALLOWED_PREFIXES, resolve
from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import Benchmark, SearchSpace, Study
from fmnist_bench.trials.process import answer_of_worker

WRAPPER = "fmnist_bench.models.HyperModelClassifier"


@dataclass(frozen=True)
class Discovery:
    """What a worker has found out of a HyperModel.

    Attributes
    ----------
    hyperparameters : list of dict
        What it asks for, as ``HyperModelClassifier.discover`` gives it.
    arguments : tuple of str
        Of the classifier around it.
    constructor : tuple of str
        Of the HyperModel itself.
    """

    hyperparameters: list[dict[str, Any]]
    arguments: tuple[str, ...]
    constructor: tuple[str, ...]


def with_hyperspaces(benchmark: Benchmark, allow_import: Sequence[str] = ()) -> Benchmark:
    """Give every study that names a `keras_tuner.HyperModel` as its model the ranges that it asks for.

    Raises
    ------
    InputError
        Where the model's module is not allowed, or it cannot be built, or the study says what does not fit it.
    """
    return replace(benchmark, spaces=tuple(_resolved(space, tuple(allow_import)) for space in benchmark.spaces))


def _resolved(space: SearchSpace, allow_import: tuple[str, ...]) -> SearchSpace:
    if space.model.use.startswith(ALLOWED_PREFIXES):
        return space
    answer = answer_of_worker(_discover, (space.model, f"study {space.name}, [model]", allow_import))
    if isinstance(answer, str):
        raise InputError(answer)
    return space if answer is None else with_hyperspace(space, answer)


def _discover(argument: tuple[Spec, str, tuple[str, ...]], connection: Connection) -> None:
    """Send the `Discovery` of a HyperModel, None for any other class, or what is wrong; in a worker."""
    os.setpgrp()
    model, where, _ = argument
    try:
        connection.send(_look_into(*argument))
    except InputError as error:
        connection.send(str(error))
    except Exception as error:
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        connection.send(f"{where}: {model.use}: {first}")


def _look_into(model: Spec, where: str, allow_import: tuple[str, ...]) -> Discovery | None:
    target = resolve(model.use, where, allow_import)
    if "keras_tuner" not in {base.__module__.partition(".")[0] for base in target.__mro__}:
        return None
    wrapper = resolve(WRAPPER, where)
    arguments, constructor = _arguments(wrapper), _arguments(target)
    given = {key: value for key, value in model.arguments.items() if key in constructor and key not in arguments}
    for key, value in given.items():
        if isinstance(value, Range):
            raise InputError(f"{where}.{key}: an argument of {model.use} itself needs a value, not a range")
    return Discovery(wrapper.discover(target(**given)), arguments, constructor)


def _arguments(target: Any) -> tuple[str, ...]:
    parameters = inspect.signature(target).parameters.values()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def with_hyperspace(space: SearchSpace, found: Discovery) -> SearchSpace:
    """Write a study of a HyperModel as one of the classifier around it.

    What the study says of a hyperparameter wins: a constant takes it out of the search, a range narrows it. Other
    keys are arguments of the classifier, such as ``epochs``, or of the HyperModel.

    Raises
    ------
    InputError
        Where the study has a key that is none of these, or a default configuration is outside a range.
    """
    where, given = f"study {space.name}, [model]", space.model.arguments
    names = [entry["name"] for entry in found.hyperparameters]
    for key in given:
        if key not in (allowed := [*names, *found.arguments, *found.constructor]):
            raise InputError(f"{where}.{key}: {space.model.use} asks for no such thing{nearest(key, allowed)}")
    own = {key for key in given if key in found.constructor and key not in (*names, *found.arguments)}
    hypermodel = Spec(space.model.use, {key: given[key] for key in own})
    outer = {key: value for key, value in given.items() if key not in own}
    arguments = {
        **_searched(found.hyperparameters, outer),
        **{k: v for k, v in outer.items() if not isinstance(v, Range)},
    }
    plain = {key: value for key, value in outer.items() if isinstance(value, Range) and key not in names}
    resolved = replace(space, model=Spec(WRAPPER, {"hypermodel": hypermodel, **plain, **arguments}))
    _check_default(resolved)
    return resolved


def _searched(found: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Range]:
    """Give the range of each hyperparameter that is left to the search, by its name."""
    fixed = {key: value for key, value in given.items() if not isinstance(value, Range)}
    ranges: dict[str, Range] = {}
    for entry in found:
        conditions = {name: tuple(values) for name, values in entry["when"]}
        met = all(fixed[name] in values for name, values in conditions.items() if name in fixed)
        if entry["name"] in fixed or not met:
            continue
        when = tuple((f"model__{name}", values) for name, values in conditions.items() if name not in fixed)
        own = given.get(entry["name"]) or _range(entry)
        ranges[entry["name"]] = replace(own, when=when)
    return ranges


def _range(entry: Mapping[str, Any]) -> Range:
    if "choices" in entry:
        return Range(choices=tuple(entry["choices"]))
    return Range(entry["low"], entry["high"], entry["log"], entry["step"])


def _check_default(space: SearchSpace) -> None:
    ranges = Study(space).ranges()
    for default in space.defaults:
        where = f"study {space.name}, [[default]] {default.name}"
        for name, value in default.parameters.items():
            if name in ranges and not ranges[name].contains(value):
                raise InputError(f"{where}: {name} = {value!r} is outside its range {ranges[name]}")
    for name in space.fidelity.levels.keys() & ranges.keys():
        raise InputError(f"study {space.name}, [fidelity]: {name} is searched; give it a value in [model]")
