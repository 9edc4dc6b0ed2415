"""The tasks of a benchmark with each of its seeds: a run each, and the comparison of them all."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fmnist_bench._utils.environment import command
from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_suite
from fmnist_bench.config.study import HIGHEST_SEED, Benchmark
from fmnist_bench.config.suite import Suite, Task
from fmnist_bench.data.dataset import load_dataset, resolve
from fmnist_bench.progress.displays import Progress, make_progress
from fmnist_bench.report.compare import Comparison, compare_runs
from fmnist_bench.report.compare_page import SUFFIXES, write_pages
from fmnist_bench.runner import FinishedError, check_benchmark, run_benchmark
from fmnist_bench.runner.outcome import Outcome

COMPARISONS = "comparisons"  # folder of the pages, in that of all results


@dataclass(frozen=True)
class SuiteOutcome:
    """Runs of several tasks and seeds.

    Attributes
    ----------
    folders : tuple of Path
        Of the runs, in the order in which they run.
    n_runs : int
        How many there are to be.
    comparison : Comparison
    page : Path
        The comparison in HTML; beside it are Markdown and CSV.
    stopped : bool
        Whether Ctrl-C ended them before the last one was complete; the same call goes on.
    """

    folders: tuple[Path, ...]
    n_runs: int
    comparison: Comparison
    page: Path
    stopped: bool


def run_suite(
    name: str | Path,
    *,
    seeds: int | None = None,
    seed: int | None = None,
    data: str | Path | None = None,
    mlruns: str | Path = "mlruns",
    progress: Callable[[], Progress] = make_progress,
    told: Callable[[Outcome, Progress], None] = lambda outcome, progress: None,
    started: float | None = None,
    **given: Any,
) -> SuiteOutcome:
    """Run every task of a benchmark with every seed, each with its own budget, or go on where that was stopped.

    Runs that came to their end with the same budget are left as they are.

    Parameters
    ----------
    name : str or Path
    seeds : int or None
        Number of seeds, at least 1; None takes the benchmark's.
    seed : int or None
        The first one; None takes the benchmark's.
    data : str, Path or None
        One data set in the place of the benchmark's.
    mlruns : str or Path
    progress : callable
        Makes the display of each run.
    told : callable
        Is told of each run that has ended now, with its display.
    started : float or None
        When the budget of the first run began, by ``time.monotonic()``.
    **given
        As `run_benchmark` takes it.

    Raises
    ------
    InputError
        As `run_benchmark`; the runs before it are kept.
    """
    suite = _with_given(load_suite(name), seeds, seed, data)
    runs = list(distinct(suite).runs())
    folders, stopped = list[Path](), False
    for place, (task, benchmark) in enumerate(runs, 1):
        display = progress()
        display.message(f"Run {place} of {len(runs)}: {task.name}, seed {benchmark.seed}")
        try:
            found = run_benchmark(benchmark, mlruns=mlruns, progress=display, started=started, again=False, **given)
        except FinishedError as finished:
            folders.append(finished.folder)
            continue
        finally:
            started = None
        folders.append(found.folder)
        told(found, display)
        if stopped := found.stopped:
            break
    comparison = compare_runs(folders)
    page = _write(comparison, Path(mlruns), folders[0].name)
    return SuiteOutcome(tuple(folders), len(runs), comparison, page, stopped)


def check_suite(name: str | Path, data: str | Path | None = None, allow_import: Sequence[str] = ()) -> str:
    """Build everything that the runs would build, train nothing, write nothing; a line for each task."""
    suite = distinct(_with_given(load_suite(name), None, None, data))
    lines = [check_benchmark(suite.of_task(task), allow_import=allow_import) for task in suite.tasks]
    n = len(suite.tasks) * suite.n_seeds
    return "\n".join([*lines, *([] if suite.is_single else [f"{suite.benchmark.name}: {n} runs"])])


def _with_given(suite: Suite, seeds: int | None, seed: int | None, data: str | Path | None) -> Suite:
    if seed is not None and not 0 <= seed <= HIGHEST_SEED:
        raise InputError(f"seed {seed!r}: must be a whole number of at least 0 and at most {HIGHEST_SEED}")
    benchmark = suite.benchmark if seed is None else replace(suite.benchmark, seed=seed)
    tasks = suite.tasks
    if data is not None:
        tasks = tuple(dict.fromkeys(replace(task, data=str(data)) for task in tasks))
    suite = Suite(benchmark, tasks, suite.n_seeds if seeds is None else seeds)
    suite.seeds()
    return suite


def distinct(suite: Suite) -> Suite:
    """Leave out tasks that would be the same: data with fewer rows than are asked for are taken whole, once."""
    return replace(suite, tasks=tuple(_distinct(suite.tasks, suite.benchmark)))


def _distinct(tasks: Sequence[Task], benchmark: Benchmark) -> Iterator[Task]:
    for data in dict.fromkeys(task.data for task in tasks):
        sizes = [task for task in tasks if task.data == data]
        n = _n_rows(data, benchmark) if len(sizes) > 1 else math.inf
        whole = [task for task in sizes if task.rows is None or task.rows >= n]
        yield from (task for task in sizes if task not in whole[1:])


def _n_rows(data: str, benchmark: Benchmark) -> int:
    name, path = resolve(data)
    return len(load_dataset(name, "train", path=path, **benchmark.reading).y)


def _write(comparison: Comparison, mlruns: Path, name: str) -> Path:
    """Write the pages of a comparison; give the one in HTML."""
    (folder := mlruns / COMPARISONS).mkdir(exist_ok=True)
    pages = {form: folder / f"{name}{suffix}" for form, suffix in SUFFIXES.items()}
    write_pages(comparison, pages, command())
    return pages["html"]
