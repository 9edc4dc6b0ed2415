"""A study's TOML file into a search space, with an error of one line for everything else."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.fidelity import ROWS, Fidelity
from fmnist_bench.config.files import read_toml
from fmnist_bench.config.space import is_number, parse_spec, parse_value
from fmnist_bench.config.study import DefaultConfiguration, Engine, SearchSpace

SPACE_KEYS = {"augment", "features", "model", "default", "fidelity", "search", "resources"}
ENGINES = {"optuna": ("tpe", "random"), "keras-tuner": ("hyperband", "bayesian")}
KINDS = {
    bool: "true or false, found {found!r}",
    str: "a string, found {found!r}",
    dict: "written as a table [{key}]",
    list: "written as tables [[{key}]]",
}
T = TypeVar("T", bool, str, dict[str, Any], list[dict[str, Any]])


def check_keys(table: Mapping[str, Any], allowed: set[str], where: str) -> None:
    """Refuse keys that nobody reads."""
    for key in table:
        if key not in allowed:
            hint = nearest(key, sorted(allowed))
            raise InputError(f"{where}: unknown key {key}{hint}; allowed are {', '.join(sorted(allowed))}")


def take(table: Mapping[str, Any], key: str, default: T, where: str) -> T:
    """Give what stands under `key`, which must be of the type of `default`; a list is one of tables."""
    found: Any = table.get(key, default)
    tables = not isinstance(found, list) or all(isinstance(item, dict) for item in found)
    if type(found) is not type(default) or not tables:
        raise InputError(f"{where}: {key} must be {KINDS[type(default)].format(key=key, found=found)}")
    value: T = found
    return value


def repeated(names: Sequence[str]) -> str | None:
    """Give the first of `names` that is there twice."""
    return next((name for name in names if names.count(name) > 1), None)


def parse_space(path: Path) -> SearchSpace:
    """Read a study's file; whether its classes exist is found out when it is built."""
    table, where = read_toml(path), str(path)
    check_keys(table, SPACE_KEYS, where)
    space = _parse_objects(table, path)
    defaults = enumerate(take(table, "default", [], where))
    space = replace(
        space,
        defaults=tuple(_parse_default(item, space, i, f"{where}, [[default]] number {i + 1}") for i, item in defaults),
        fidelity=_parse_fidelity(take(table, "fidelity", {}, where), space, f"{where}, [fidelity]"),
        engine=_parse_engine(take(table, "search", {}, where), f"{where}, [search]"),
        resources=_parse_resources(take(table, "resources", {}, where), f"{where}, [resources]"),
    )
    if space.engine.oracle == "hyperband" and not space.fidelity.levels:
        raise InputError(f"{where}, [search] oracle: hyperband needs a table [fidelity]")
    return space


def _parse_objects(table: Mapping[str, Any], path: Path) -> SearchSpace:
    """Read what a pipeline is made of."""
    if "model" not in table:
        raise InputError(f"{path}: a study needs a table [model]")
    augments = table.get("augment", [])
    space = SearchSpace(
        name=path.stem,
        model=parse_spec(table["model"], f"{path}, [model]"),
        features=tuple(parse_spec(item, f"{path}, [[features]]") for item in take(table, "features", [], str(path))),
        augments=tuple(
            parse_spec(item, f"{path}, [augment]") for item in (augments if isinstance(augments, list) else [augments])
        ),
    )
    if space.name == "ensemble":
        raise InputError(f"{path}: a study may not be called ensemble, which is what is made of all of them")
    if twice := repeated([study.name for study in space.studies]):
        raise InputError(f"{path}, [[augment]]: there would be two studies {twice}; each needs a class of another name")
    return space


def _parse_default(item: Mapping[str, Any], space: SearchSpace, index: int, where: str) -> DefaultConfiguration:
    given = {_full_name(key): value for key, value in item.items() if key not in ("name", "alone")}
    parameters = {name: parse_value(value, f"{where}: {name}") for name, value in given.items()}
    for name, allowed in space.ranges().items():
        if name in parameters and not item.get("alone") and not allowed.contains(parameters[name]):
            raise InputError(f"{where}: {name} = {parameters[name]!r} is outside its range {allowed}")
    alone = take(item, "alone", False, where)
    return DefaultConfiguration(take(item, "name", str(index), where), parameters, alone)


def _full_name(key: str) -> str:
    """Give the scikit-learn name of a parameter; one without a prefix is the model's."""
    return key if key.startswith(("model__", "features__", "augment__")) else f"model__{key}"


def _parse_fidelity(table: Mapping[str, Any], space: SearchSpace, where: str) -> Fidelity:
    levels = {
        name if name == ROWS else _full_name(name): _not_falling(values, f"{where} {name}")
        for name, values in table.items()
    }
    if len({len(values) for values in levels.values()}) > 1:
        raise InputError(f"{where}: every list must be of the same length")
    if ROWS in levels and (levels[ROWS][-1] != 1 or levels[ROWS][0] <= 0):
        raise InputError(f"{where} rows: shares of the train rows, above 0, the last one 1, found {list(levels[ROWS])}")
    for name in levels:
        if name in space.ranges():
            raise InputError(f"{where}: {name} has a range already; an argument of [fidelity] is not searched")
    fidelity = Fidelity(levels)
    if levels and not (fidelity.paid and all(low < high for low, high in itertools.pairwise(fidelity.work))):
        raise InputError(f"{where}: each rung must cost more than the last: one list that begins above 0 must rise")
    return fidelity


def _not_falling(values: Any, where: str) -> tuple[Any, ...]:
    numbers = isinstance(values, list) and len(values) > 1 and all(map(is_number, values))
    if not numbers or not all(low <= high for low, high in itertools.pairwise(values)):
        raise InputError(f"{where}: expected a list of two or more numbers that do not fall, found {values!r}")
    return tuple(values)


def _parse_engine(table: Mapping[str, Any], where: str) -> Engine:
    check_keys(table, {"engine", "oracle"}, where)
    engine = str(table.get("engine", "optuna"))
    if engine not in ENGINES:
        raise InputError(f"{where} engine: {engine} is none of {', '.join(ENGINES)}{nearest(engine, list(ENGINES))}")
    oracle = str(table.get("oracle", ENGINES[engine][0]))
    if oracle not in ENGINES[engine]:
        allowed = ", ".join(ENGINES[engine])
        raise InputError(f"{where} oracle: {oracle} is no oracle of {engine}; allowed are {allowed}")
    return Engine(engine, oracle)


def _parse_resources(table: Mapping[str, Any], where: str) -> dict[str, float]:
    for name, amount in table.items():
        if not is_number(amount) or amount <= 0:
            raise InputError(f"{where} {name}: expected a number above 0, such as gpus = 1, found {amount!r}")
    return {name: float(amount) for name, amount in table.items()}
