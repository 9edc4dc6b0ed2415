"""Studies of users' HyperModels: a worker finds out what one asks for, which becomes the study's ranges."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.building import ALLOWED_PREFIXES, resolve
from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import Benchmark, SearchSpace, Study
from fmnist_bench.trials.process import answer_of_worker
from fmnist_bench.trials.questions import answer_over

WRAPPER = "fmnist_bench.models.HyperModelClassifier"


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
    answer: str | SearchSpace = answer_of_worker(_resolve, (space, allow_import))
    if isinstance(answer, str):
        raise InputError(answer)
    return answer


def _resolve(argument: tuple[SearchSpace, tuple[str, ...]], connection: Connection) -> None:
    """Send the search space, with the ranges of a HyperModel, or what is wrong; in a worker."""
    answer_over(connection, lambda: _look_into(*argument))


def _look_into(space: SearchSpace, allow_import: tuple[str, ...]) -> SearchSpace:
    model, where = space.model, f"study {space.name}, [model]"
    target = resolve(model.use, where, allow_import)
    if "keras_tuner" not in {base.__module__.partition(".")[0] for base in target.__mro__}:
        return space
    wrapper = resolve(WRAPPER, where)
    outer, inner = _arguments(wrapper), _arguments(target)
    given = {key: value for key, value in model.arguments.items() if key in inner and key not in outer}
    for key, value in given.items():
        if isinstance(value, Range):
            raise InputError(f"{where}.{key}: an argument of {model.use} itself needs a value, not a range")
    try:
        found = wrapper.discover(target(**given))
    except Exception as error:  # the user's own code raises anything
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"{where}: {model.use}: {first}") from error
    return with_hyperspace(space, found, outer, inner)


def _arguments(target: Any) -> tuple[str, ...]:
    parameters = inspect.signature(target).parameters.values()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def with_hyperspace(
    space: SearchSpace, found: Sequence[Mapping[str, Any]], outer: Sequence[str], inner: Sequence[str]
) -> SearchSpace:
    """Write a study of a HyperModel as one of the classifier around it.

    `found` is what ``HyperModelClassifier.discover`` gives, `outer` are the arguments of that classifier, such as
    ``epochs``, `inner` those of the HyperModel. What the study says of a hyperparameter wins: a constant takes it out
    of the search, a range narrows it. A key that is none of these, or a default outside a range, is an `InputError`.
    """
    where, given = f"study {space.name}, [model]", space.model.arguments
    names = [entry["name"] for entry in found]
    for key in given:
        if key not in (allowed := [*names, *outer, *inner]):
            raise InputError(f"{where}.{key}: {space.model.use} asks for no such thing{nearest(key, allowed)}")
    own = {key: value for key, value in given.items() if key in inner and key not in (*names, *outer)}
    rest = {key: value for key, value in given.items() if key not in own}
    free = {key: value for key, value in rest.items() if key not in names or not isinstance(value, Range)}
    arguments = {"hypermodel": Spec(space.model.use, own), **free, **_searched(found, rest)}
    resolved = replace(space, model=Spec(WRAPPER, arguments))
    _check_default(resolved)
    return resolved


def _searched(found: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Range]:
    """Give the range of each hyperparameter that is left to the search, by its name."""
    fixed = {key: value for key, value in given.items() if not isinstance(value, Range)}
    ranges: dict[str, Range] = {}
    for entry in found:
        conditions = {name: tuple(values) for name, values in entry["when"]}
        met = all(fixed[name] in values for name, values in conditions.items() if name in fixed)
        if entry["name"] not in fixed and met:
            when = tuple((f"model__{name}", values) for name, values in conditions.items() if name not in fixed)
            ranges[entry["name"]] = replace(given.get(entry["name"]) or _range(entry), when=when)
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
