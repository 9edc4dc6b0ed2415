"""TOML files into studies and benchmarks, with an error of one line for everything else."""

import contextlib
import itertools
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.space import Spec, is_number, parse_spec, parse_value
from fmnist_bench.config.study import (
    DEFAULT_BUDGET,
    HIGHEST_SEED,
    ROWS,
    Benchmark,
    DefaultConfiguration,
    Engine,
    EnsembleConfig,
    Fidelity,
    SearchSpace,
)

PACKAGE = Path(__file__).parents[1]
SPACE_KEYS = {"augment", "features", "model", "default", "fidelity", "search", "resources"}
ENGINES = {"optuna": ("tpe", "random"), "keras-tuner": ("hyperband", "bayesian", "random")}
BENCHMARK_KEYS = {"data", "rows", "valid_size", "seed", "budget", "trials", "studies", "augment", "ensemble"}


def parse_duration(duration: str | float) -> float:
    """Seconds of a duration such as ``90``, ``90s``, ``10m``, ``2h`` or ``1h30m``.

    Raises
    ------
    InputError
        Where it is not of that form or not above zero.
    """
    seconds = _seconds(duration) if isinstance(duration, str) else duration
    if seconds is None or isinstance(seconds, bool) or not isinstance(seconds, Real):
        raise InputError(f"budget {duration!r}: expected a duration such as 90s, 10m, 2h or 1h30m")
    if not 0 < seconds < math.inf:
        raise InputError(f"budget {duration!r}: must be above zero and finite, such as 10m")
    return float(seconds)


def _seconds(text: str) -> float | None:
    """Read a number alone, or numbers each with its unit: 1h30 might be minutes or seconds."""
    number = r"([0-9]+(?:\.[0-9]+)?)"
    if alone := re.fullmatch(number, text.strip()):
        return float(alone[1])
    match = re.fullmatch(f"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text.strip())
    if not match or not any(match.groups()):
        return None
    return sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))


def load_space(name: str | Path) -> SearchSpace:
    """Load a study by its name, by ``study-known`` for one of its named configurations, or by its path."""
    if str(name).endswith(".toml"):
        return _parse_space(Path(name))
    found = find_files("studies")
    if name in found:
        return _parse_space(found[str(name)])
    for stem in sorted(found, key=len, reverse=True):
        if str(name).startswith(f"{stem}-"):
            return _only_defaults(_parse_space(found[stem]), str(name))
    raise InputError(f"no study is called {name}{nearest(str(name), list(found))}; there are {', '.join(found)}")


def _only_defaults(space: SearchSpace, name: str) -> SearchSpace:
    wanted = name.removeprefix(f"{space.name}-")
    named = [default for default in space.defaults if default.name == wanted]
    if not named:
        names = [f"{space.name}-{default.name}" for default in space.defaults if not default.name.isdigit()]
        raise InputError(
            f"no study is called {name}{nearest(name, names)}; named ones are {', '.join(names) or 'none'}"
        )
    # Constants instead of ranges: what is run alone may lie outside of what the search looks at.
    chosen = {key.removeprefix("model__"): value for key, value in named[0].parameters.items()}
    constants = {key: value for key, value in chosen.items() if key in space.model.arguments}
    model = replace(space.model, arguments={**space.model.arguments, **constants})
    return replace(space, name=name, model=model, defaults=(replace(named[0], alone=False),), augments=())


def load_benchmark(name: str | Path) -> Benchmark:
    """Load a benchmark by its name, or by the path of a TOML file; a study's name makes a benchmark of it alone.

    Parameters
    ----------
    name : str or Path
        Such as ``all``, ``smoke``, ``cnn``, ``cnn-4conv`` or ``my/benchmark.toml``. A folder ``benchmarks/`` or
        ``studies/`` in the working directory adds to the shipped ones.

    Raises
    ------
    InputError
        Where there is none of that name, or the file does not say what it must.
    """
    if str(name).endswith(".toml"):
        path = Path(name)
        return _of_space(_parse_space(path)) if "model" in _read_toml(path) else _parse_benchmark(path)
    benchmarks, spaces = find_files("benchmarks"), find_files("studies")
    if name in benchmarks:
        return _parse_benchmark(benchmarks[str(name)])
    try:
        return _of_space(load_space(str(name)), alone=name not in spaces)
    except InputError:
        if name in spaces or any(str(name).startswith(f"{stem}-") for stem in spaces):
            raise
    names = [*benchmarks, *spaces]
    raise InputError(
        f"no benchmark or study is called {name}{nearest(str(name), names)}; benchmarks are {', '.join(benchmarks)}, "
        f"studies are {', '.join(spaces)}"
    )


def _of_space(space: SearchSpace, alone: bool = False) -> Benchmark:
    """Make a benchmark of a study, or of one of its named configurations `alone`."""
    budget, trials = (None, 1) if alone else (DEFAULT_BUDGET, None)
    return Benchmark(name=space.name, spaces=(space,), budget=budget, trials=trials)


def find_files(kind: str) -> dict[str, Path]:
    """TOML files of ``studies`` or ``benchmarks`` by their names; those of the working directory win."""
    shipped = PACKAGE / kind  # in the wheel; in a checkout they lie beside the package
    folders = [shipped if shipped.is_dir() else PACKAGE.parent / kind, Path.cwd() / kind]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def describe_all() -> str:
    """List every benchmark with its studies, and every study with its space and its named configurations."""
    lines = ["benchmarks"]
    for name, path in find_files("benchmarks").items():
        benchmark = _parse_benchmark(path)
        budget = "no budget" if benchmark.budget is None else f"{benchmark.budget:.0f} s"
        lines.append(f"  {name}: {benchmark.data}, {budget}, {', '.join(study.name for study in benchmark.studies)}")
    lines += ["studies"]
    for path in find_files("studies").values():
        lines += _describe_space(_parse_space(path))
    return "\n".join(lines)


def _describe_space(space: SearchSpace) -> list[str]:
    names = [f"{space.name}-{default.name}" for default in space.defaults if not default.name.isdigit()]
    alone = f" (alone: {', '.join(names)})" if names else ""
    found = space.ranges()
    return [f"  {space.name}: {space.model.use}{alone}", *(f"    {name} {found[name]}" for name in found)]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:  # a number of too many digits, or tables nested too deep
        raise InputError(f"{path}: not a readable TOML file: {error}") from error


def _check_keys(table: Mapping[str, Any], allowed: set[str], where: str) -> None:
    for key in table:
        if key not in allowed:
            hint = nearest(key, sorted(allowed))
            raise InputError(f"{where}: unknown key {key}{hint}; allowed are {', '.join(sorted(allowed))}")


def _parse_space(path: Path) -> SearchSpace:
    table = _read_toml(path)
    _check_keys(table, SPACE_KEYS, str(path))
    if "model" not in table:
        raise InputError(f"{path}: a study needs a table [model]")
    features = _list_of_tables(table, "features", path)
    space = SearchSpace(
        name=path.stem,
        model=parse_spec(table["model"], f"{path}, [model]"),
        features=tuple(parse_spec(item, f"{path}, [[features]]") for item in features),
        augments=_parse_augments(table, path),
    )
    if space.name == "ensemble":
        raise InputError(f"{path}: a study may not be called ensemble, which is what is made of all of them")
    names = [study.name for study in space.studies]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"{path}, [[augment]]: there would be two studies {twice[0]}; each needs a class of another name"
        )
    defaults = tuple(
        _parse_default(item, space, i, path) for i, item in enumerate(_list_of_tables(table, "default", path))
    )
    fidelity = _parse_fidelity(_table(table, "fidelity", path), space, f"{path}, [fidelity]")
    engine = _parse_engine(_table(table, "search", path), f"{path}, [search]")
    if engine.oracle == "hyperband" and not fidelity.levels:
        raise InputError(f"{path}, [search] oracle: hyperband needs a table [fidelity]")
    return replace(
        space,
        defaults=defaults,
        fidelity=fidelity,
        engine=engine,
        resources=_parse_resources(_table(table, "resources", path), f"{path}, [resources]"),
    )


def _parse_augments(table: Mapping[str, Any], path: Path) -> tuple[Spec, ...]:
    """Read one table [augment], or several."""
    found = table.get("augment", [])
    return tuple(parse_spec(item, f"{path}, [augment]") for item in (found if isinstance(found, list) else [found]))


def _table(table: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise InputError(f"{path}: {key} must be written as a table [{key}]")
    return found


def _text(table: Mapping[str, Any], key: str, default: str, where: str | Path) -> str:
    if not isinstance(found := table.get(key, default), str):
        raise InputError(f"{where}: {key} must be a string, found {found!r}")
    return found


def _parse_fidelity(table: Mapping[str, Any], space: SearchSpace, where: str) -> Fidelity:
    levels = {
        name if name == ROWS else full_name(name): _not_falling(values, f"{where} {name}")
        for name, values in table.items()
    }
    if len({len(values) for values in levels.values()}) > 1:
        raise InputError(f"{where}: every list must be of the same length")
    if ROWS in levels and (levels[ROWS][-1] != 1 or levels[ROWS][0] <= 0):
        raise InputError(f"{where} rows: shares of the train rows, above 0, the last one 1, found {list(levels[ROWS])}")
    for name in levels:
        if name in space.ranges():
            raise InputError(f"{where}: {name} has a range already; a ladder's argument is not searched")
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
    _check_keys(table, {"engine", "oracle"}, where)
    engine = str(table.get("engine", "optuna"))
    if engine not in ENGINES:
        raise InputError(f"{where} engine: {engine} is none of {', '.join(ENGINES)}{nearest(engine, list(ENGINES))}")
    oracle = str(table.get("oracle", ENGINES[engine][0]))
    if oracle not in ENGINES[engine]:
        allowed = ", ".join(ENGINES[engine]) or "none"
        raise InputError(f"{where} oracle: {oracle} is no oracle of {engine}; allowed are {allowed}")
    return Engine(engine, oracle)


def _parse_resources(table: Mapping[str, Any], where: str) -> dict[str, float]:
    for name, amount in table.items():
        if not is_number(amount) or amount <= 0:
            raise InputError(f"{where} {name}: expected a number above 0, such as gpus = 1, found {amount!r}")
    return {name: float(amount) for name, amount in table.items()}


def _list_of_tables(table: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    items = table.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{path}: {key} must be written as tables [[{key}]]")
    return items


def _parse_default(item: Mapping[str, Any], space: SearchSpace, index: int, path: Path) -> DefaultConfiguration:
    where = f"{path}, [[default]] number {index + 1}"
    given = {full_name(key): value for key, value in item.items() if key not in ("name", "alone")}
    parameters = {name: parse_value(value, f"{where}: {name}") for name, value in given.items()}
    for name, allowed in space.ranges().items():
        if name in parameters and not item.get("alone") and not allowed.contains(parameters[name]):
            raise InputError(f"{where}: {name} = {parameters[name]!r} is outside its range {allowed}")
    if not isinstance(alone := item.get("alone", False), bool):
        raise InputError(f"{where}: alone must be true or false, found {alone!r}")
    return DefaultConfiguration(_text(item, "name", str(index), where), parameters, alone)


def full_name(key: str) -> str:
    """Give the scikit-learn name of a parameter; one without a prefix is the model's."""
    return key if key.startswith(("model__", "features__", "augment__")) else f"model__{key}"


def _parse_benchmark(path: Path) -> Benchmark:
    table = _read_toml(path)
    _check_keys(table, BENCHMARK_KEYS, str(path))
    names = table.get("studies")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f'{path}: needs a list studies = ["cnn", "xgboost"] of names of studies')
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}, studies: {twice[0]} is named twice")
    plain = {key: _checked(table[key], key, path) for key in ("rows", "valid_size", "seed", "trials") if key in table}
    if not isinstance(augment := table.get("augment", True), bool):
        raise InputError(f"{path}: augment must be true or false, found {augment!r}")
    with _mistakes_of(f"{path}, studies"):
        spaces = tuple(load_space(name) for name in names)
    with _mistakes_of(f"{path}"):
        budget = parse_duration(table["budget"]) if "budget" in table else None
    spaces = spaces if augment else tuple(replace(space, augments=()) for space in spaces)
    studies = [study.name for space in spaces for study in space.studies]
    if twice := [name for name in studies if studies.count(name) > 1]:
        raise InputError(f"{path}, studies: there would be two studies {twice[0]}; rename the study of that name")
    ensemble = _table(table, "ensemble", path)
    _check_keys(ensemble, set(EnsembleConfig.__dataclass_fields__), f"{path}, [ensemble]")
    return Benchmark(
        name=path.stem,
        data=_text(table, "data", "fashion-mnist", path),
        budget=budget if budget or "trials" in table else DEFAULT_BUDGET,
        spaces=spaces,
        ensemble=EnsembleConfig(**{k: _checked(v, f"ensemble.{k}", path) for k, v in ensemble.items()}),
        **plain,
    )


@contextlib.contextmanager
def _mistakes_of(where: str) -> Iterator[None]:
    """Say in which file and under which key what is wrong was written."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _checked(value: Any, key: str, path: Path) -> Any:
    if key == "ensemble.max_latency":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise InputError(f"{path}: {key} must be a number of milliseconds above 0, found {value!r}")
        return float(value)
    fraction = key == "valid_size" and isinstance(value, float) and 0 < value < 1
    lowest = 0 if key == "seed" else 1
    highest = HIGHEST_SEED if key == "seed" else math.inf
    whole = isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
    if not (whole or fraction):
        also = {"valid_size": " or a fraction between 0 and 1", "seed": f" and at most {HIGHEST_SEED}"}.get(key, "")
        raise InputError(f"{path}: {key} must be a whole number of at least {lowest}{also}, found {value!r}")
    return value
