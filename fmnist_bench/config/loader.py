"""Studies and benchmarks by their names or the paths of their TOML files."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.files import find_files, purpose, read_toml
from fmnist_bench.config.parsing import check_keys, parse_space, repeated, take
from fmnist_bench.config.space import is_number
from fmnist_bench.config.study import (
    DEFAULT_BUDGET,
    HIGHEST_SEED,
    RUN_REFITS,
    STUDENT,
    Benchmark,
    DistillConfig,
    EnsembleConfig,
    SearchSpace,
)
from fmnist_bench.config.suite import Suite, Task
from fmnist_bench.data.readers.parts import LARGEST_SIDE


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
    match = re.fullmatch(f"{number}|(?:{number}h)?(?:{number}m)?(?:{number}s)?", text.strip())
    if not match or not any(match.groups()):
        return None
    return sum(float(part or 0) * unit for part, unit in zip(match.groups(), (1, 3600, 60, 1), strict=True))


def load_space(name: str | Path) -> SearchSpace:
    """Load a study by its name, by ``cnn-6conv`` for one of its named configurations, or by its path."""
    if str(name).endswith(".toml"):
        return parse_space(Path(name))
    files = find_files("studies")
    if (space := _find_space(str(name), files)) is None:
        raise InputError(f"no study is called {name}{nearest(str(name), list(files))}; there are {', '.join(files)}")
    return space


def _find_space(name: str, files: Mapping[str, Path]) -> SearchSpace | None:
    """Give the study of this name, or one of its named configurations as a study; None where there is neither."""
    if name in files:
        return parse_space(files[name])
    stems = sorted((stem for stem in files if name.startswith(f"{stem}-")), key=len)
    return _only_default(parse_space(files[stems[-1]]), name) if stems else None


def _only_default(space: SearchSpace, name: str) -> SearchSpace:
    default = next((d for d in space.defaults if f"{space.name}-{d.name}" == name), None)
    if default is None:
        names = _names_alone(space)
        raise InputError(
            f"no study is called {name}{nearest(name, names)}; named ones are {', '.join(names) or 'none'}"
        )
    # Constants instead of ranges: what is run alone may lie outside of what the search looks at.
    chosen = {name.removeprefix("model__"): value for name, value in default.parameters.items()}
    arguments = {key: chosen.get(key, argument) for key, argument in space.model.arguments.items()}
    model = replace(space.model, arguments=arguments)
    return replace(space, name=name, model=model, defaults=(replace(default, alone=False),), augments=())


def _names_alone(space: SearchSpace) -> list[str]:
    """Names by which configurations of a study can be run alone, without those that are mere numbers."""
    return [f"{space.name}-{default.name}" for default in space.defaults if not default.name.isdigit()]


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
        Where there is none of that name, the file does not say what it must, or it has several tasks or seeds.
    """
    if (suite := load_suite(name)).is_single:
        return suite.benchmark
    n, seeds = len(suite.tasks), suite.n_seeds
    raise InputError(f"{name}: is a suite, {n} tasks with {seeds} seeds; here one is needed, as one data set and rows")


def load_suite(name: str | Path) -> Suite:
    """Load the tasks of a benchmark, named as for `load_benchmark`; most have one, with one seed."""
    if str(name).endswith(".toml"):
        path = Path(name)
        return _of_space(parse_space(path)) if "model" in read_toml(path) else _parse_benchmark(path)
    benchmarks, spaces = find_files("benchmarks"), find_files("studies")
    if name in benchmarks:
        return _parse_benchmark(benchmarks[str(name)])
    if (space := _find_space(str(name), spaces)) is not None:
        return _of_space(space, alone=name not in spaces)
    raise InputError(
        f"no benchmark or study is called {name}{nearest(str(name), [*benchmarks, *spaces])}; "
        f"benchmarks are {', '.join(benchmarks)}, studies are {', '.join(spaces)}"
    )


def is_suite(name: str | Path, seeds: int | None = None) -> bool:
    """Whether it is more than one run: of several tasks, or of several seeds, as the file says or as was asked for."""
    return seeds is not None or not load_suite(name).is_single


def _of_space(space: SearchSpace, alone: bool = False) -> Suite:
    """Make a benchmark of a study, or of one of its named configurations `alone`."""
    budget, trials = (None, 1) if alone else (DEFAULT_BUDGET, None)
    benchmark = Benchmark(name=space.name, spaces=(space,), budget=budget, trials=trials)
    return Suite(benchmark, (Task(benchmark.data),))


def with_studies(benchmark: Benchmark, names: Sequence[str | Path], where: str) -> Benchmark:
    """Give the benchmark other studies, by their names or the paths of their files; `where` is for messages."""
    return replace(benchmark, spaces=_load_spaces([*map(str, names)], True, where))


def describe(name: str | Path) -> str:
    """Say what a benchmark compares and for how long, or what a study searches, and what of it can be run alone.

    Raises
    ------
    InputError
        As `load_suite`.
    """
    suite, files = load_suite(name), {**find_files("studies"), **find_files("benchmarks")}
    benchmark = suite.benchmark
    path = Path(name) if str(name).endswith(".toml") else files.get(str(name))
    head = [f"{benchmark.name}: {purpose(path)}" if path and purpose(path) else benchmark.name]
    if len(benchmark.spaces) > 1:
        minutes = "" if benchmark.budget is None else f"{benchmark.budget / 60:g} minutes"
        extent = minutes or f"trials of each study: {benchmark.trials}"
        seeds = "" if suite.n_seeds == 1 else f", each of {suite.n_seeds} seeds"
        tasks = [benchmark.data] if suite.is_single else [task.name for task in suite.tasks]
        shown = [f"  {task}, {extent}{seeds}" for task in tasks]
        return "\n".join([*head, *shown, *(f"  {study.name}" for study in benchmark.studies)])
    (space,) = benchmark.spaces
    alone = [f"  alone: {', '.join(names)}"] if (names := _names_alone(space)) else []
    return "\n".join([*head, f"  {space.model.use}", *alone, *(f"  {key} {r}" for key, r in space.ranges().items())])


def _is_whole(value: Any, least: int = 1, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


Rules = dict[str, tuple[Callable[[Any], bool], str]]
WHOLE = _is_whole, "a whole number of at least 1"
BENCHMARK_RULES: Rules = {
    "valid_size": (
        lambda v: _is_whole(v) or (isinstance(v, float) and 0 < v < 1),
        f"{WHOLE[1]} or a fraction between 0 and 1",
    ),
    "seed": (lambda v: _is_whole(v, 0, HIGHEST_SEED), f"a whole number of at least 0 and at most {HIGHEST_SEED}"),
    "resize": (lambda v: _is_whole(v, 1, LARGEST_SIDE), f"a whole number of pixels, 1 to {LARGEST_SIDE}"),
    "skip_unreadable": (lambda v: isinstance(v, bool), "true or false"),
    "trials": WHOLE,
    "augment": (lambda v: isinstance(v, bool), "true or false"),
}
TASK_RULES: Rules = {
    "data": (lambda v: _one_or_several(v, lambda each: isinstance(each, str)), "a string, or a list of different ones"),
    "rows": (lambda v: _one_or_several(v, _is_whole), f"{WHOLE[1]}, or a list of different ones"),
    "seeds": WHOLE,
}
ENSEMBLE_RULES: Rules = {
    "max_steps": WHOLE,
    "per_study": WHOLE,
    "max_latency": (lambda v: is_number(v) and v > 0, "a number of milliseconds above 0"),
    "refit": (lambda v: v in RUN_REFITS, f"one of {', '.join(RUN_REFITS)}"),
}
STUDENT_WORDS = f"a named configuration of a network, such as {STUDENT}"
DISTILL_RULES: Rules = {
    "student": (lambda v: isinstance(v, str), STUDENT_WORDS),
    "share": (lambda v: is_number(v) and 0 < v <= 0.5, "a number above 0 and at most 0.5"),
    "synthetic": (lambda v: isinstance(v, bool), "true or false"),
}
BUDGET, BUDGET_PER_TASK = "budget", "budget_per_task"
BENCHMARK_KEYS = {*BENCHMARK_RULES, *TASK_RULES, BUDGET, BUDGET_PER_TASK, "distill", "ensemble", "studies"}


def _one_or_several(value: Any, allows: Callable[[Any], bool]) -> bool:
    """Whether it is allowed, or a list of at least one, each allowed and there once."""
    values = _listed(value)
    return bool(values) and all(map(allows, values)) and repeated(values) is None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _parse_benchmark(path: Path) -> Suite:
    table = read_toml(path)
    check_keys(table, BENCHMARK_KEYS, str(path))
    given = _checked(table, TASK_RULES, f"{path}: ")
    data, rows = _listed(given.get("data", Benchmark.data)), _listed(given.get("rows"))
    tasks = tuple(Task(name, n) for name in data for n in rows)
    suite = Suite(_parse_rest(table, path), tasks, given.get("seeds", 1))
    try:
        suite.seeds()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not suite.is_single and BUDGET in table:
        raise InputError(f"{path}: budget: of a suite each task has its own; write {BUDGET_PER_TASK}")
    if len(rows) > 1 and isinstance(suite.benchmark.valid_size, int):
        raise InputError(f"{path}: valid_size: must be a fraction where there are several rows, or left out")
    return replace(suite, benchmark=suite.of_task(tasks[0]))


def _parse_rest(table: Mapping[str, Any], path: Path) -> Benchmark:
    """Read what all tasks share."""
    plain = _checked(table, BENCHMARK_RULES, f"{path}: ")
    spaces = _load_spaces(table.get("studies"), plain.pop("augment", True), path)
    budget = _budget(table, path)
    ensemble = take(table, "ensemble", {}, str(path))
    check_keys(ensemble, set(ENSEMBLE_RULES), f"{path}, [ensemble]")
    return Benchmark(
        name=path.stem,
        budget=budget,
        spaces=spaces,
        ensemble=EnsembleConfig(**_checked(ensemble, ENSEMBLE_RULES, f"{path}: ensemble.")),
        distill=_distill(take(table, "distill", {}, str(path)), spaces, path) if "distill" in table else None,
        **plain,
    )


def _distill(table: Mapping[str, Any], spaces: Sequence[SearchSpace], path: Path) -> DistillConfig:
    where = f"{path}: distill."
    check_keys(table, set(DISTILL_RULES), f"{path}, [distill]")
    given = _checked(table, DISTILL_RULES, where)
    config = DistillConfig(load_space(given.pop("student", STUDENT)), **given)
    student = config.student
    if open_ := [*student.ranges()]:
        raise InputError(f"{where}student: {student.name} has ranges, such as of {open_[0]}; must be {STUDENT_WORDS}")
    studies = [study for space in spaces for study in space.studies]
    if taken := {study.name for study in studies} & {study.name for study in config.students}:
        raise InputError(f"{path}, studies: {min(taken)} is the name of what [distill] teaches; rename the file")
    if config.synthetic and not any(study.augmented for study in studies):
        raise InputError(
            f"{where}synthetic: no study of the benchmark has a table [augment], whose GAN would draw them"
        )
    return config


def _budget(table: Mapping[str, Any], path: Path) -> float | None:
    if BUDGET in table and BUDGET_PER_TASK in table:
        raise InputError(f"{path}: {BUDGET} and {BUDGET_PER_TASK} mean the same; write one of them")
    for key in (BUDGET, BUDGET_PER_TASK):
        if key in table:
            try:
                return parse_duration(table[key])
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
    return None if "trials" in table else DEFAULT_BUDGET


def _checked(table: Mapping[str, Any], rules: Rules, where: str) -> dict[str, Any]:
    """Give those keys of `table` for which there are rules."""
    for key, (allows, words) in rules.items():
        if key in table and not allows(table[key]):
            raise InputError(f"{where}{key} must be {words}, found {table[key]!r}")
    return {key: table[key] for key in rules if key in table}


def _load_spaces(names: Any, augment: bool, path: Path | str) -> tuple[SearchSpace, ...]:
    """Load the studies of these `names`, without their augmentations where it is not to `augment`."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f'{path}: needs a list studies = ["cnn", "xgboost"] of names of studies')
    if twice := repeated(names):
        raise InputError(f"{path}, studies: {twice} is named twice")
    try:
        spaces = tuple(load_space(name) for name in names)
    except InputError as error:
        raise InputError(f"{path}, studies: {error}") from error
    if not augment:
        spaces = tuple(replace(space, augments=()) for space in spaces)
    if twice := repeated([study.name for space in spaces for study in space.studies]):
        raise InputError(f"{path}, studies: there would be two studies {twice}; rename one of the files")
    return spaces
