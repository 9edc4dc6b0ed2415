"""One benchmark with several seeds: a run each, and the comparison of them all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_bench._utils.environment import command
from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_benchmark
from fmnist_bench.config.study import HIGHEST_SEED
from fmnist_bench.progress.displays import Progress, make_progress
from fmnist_bench.report.compare import Comparison, compare_runs
from fmnist_bench.report.compare_page import SUFFIXES, write_pages
from fmnist_bench.runner import FinishedError, Outcome, run_benchmark

STRIDE = 1000  # from seed to seed: networks of one run are trained with the few seeds that follow its own
COMPARISONS = "comparisons"  # folder of the pages, in that of all results


@dataclass(frozen=True)
class Repeats:
    """Runs of several seeds.

    Attributes
    ----------
    folders : tuple of Path
        Of the runs, in the order of their seeds.
    comparison : Comparison
    page : Path
        The comparison in HTML; beside it are Markdown and CSV.
    stopped : bool
        Whether Ctrl-C ended them before the last one was complete; the same call goes on.
    """

    folders: tuple[Path, ...]
    comparison: Comparison
    page: Path
    stopped: bool


def run_seeds(
    name: str | Path,
    n: int,
    *,
    seed: int | None = None,
    mlruns: str | Path = "mlruns",
    progress: Callable[[], Progress] = make_progress,
    told: Callable[[Outcome, Progress], None] = lambda outcome, progress: None,
    started: float | None = None,
    **given: Any,
) -> Repeats:
    """Run a benchmark with several seeds, each with its own budget, or go on where an earlier call was stopped.

    Runs that came to their end with the same budget are left as they are.

    Parameters
    ----------
    name : str or Path
    n : int
        Number of seeds, at least 2; they lie `STRIDE` apart.
    seed : int or None
        The first one; None takes the benchmark's.
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
    folders, stopped = list[Path](), False
    if n < 2:
        raise InputError(f"seeds {n}: must be a whole number of at least 2; one run needs no --seeds")
    for number in seeds(load_benchmark(name).seed if seed is None else seed, n):
        display = progress()
        try:
            found = run_benchmark(
                name, seed=number, mlruns=mlruns, progress=display, started=started, again=False, **given
            )
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
    return Repeats(tuple(folders), comparison, _write(comparison, Path(mlruns), folders[0].name), stopped)


def seeds(first: int, n: int) -> range:
    """Give `n` seeds from the first one on, `STRIDE` apart.

    Raises
    ------
    InputError
        Where there are fewer.
    """
    if first + STRIDE * (n - 1) > HIGHEST_SEED:
        raise InputError(f"seeds {n}: from {first} on there are fewer; they lie {STRIDE} apart, up to {HIGHEST_SEED}")
    return range(first, first + STRIDE * n, STRIDE)


def _write(comparison: Comparison, mlruns: Path, name: str) -> Path:
    """Write the pages of a comparison; give the one in HTML."""
    (folder := mlruns / COMPARISONS).mkdir(exist_ok=True)
    pages = {form: folder / f"{name}{suffix}" for form, suffix in SUFFIXES.items()}
    write_pages(comparison, pages, command())
    return pages["html"]
