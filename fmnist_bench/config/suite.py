"""A benchmark of several tasks: data sets at several sizes, each with several seeds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.study import HIGHEST_SEED, Benchmark

STRIDE = 1000  # from seed to seed: networks of one run are trained with the few seeds that follow its own


def seeds(first: int, n: int) -> range:
    """Give `n` seeds from the first one on, `STRIDE` apart.

    Raises
    ------
    InputError
        Where there are not so many.
    """
    if n < 1 or first + STRIDE * (n - 1) > HIGHEST_SEED:
        most = (HIGHEST_SEED - first) // STRIDE + 1
        raise InputError(f"seeds {n}: must be a whole number of 1 to {most}; from {first} on they lie {STRIDE} apart")
    return range(first, first + STRIDE * n, STRIDE)


@dataclass(frozen=True)
class Task:
    """One data set at one size.

    Attributes
    ----------
    data : str
        As `load_dataset` takes it.
    rows : int or None
        Train and validation rows at most; None takes all.
    """

    data: str
    rows: int | None = None

    @property
    def name(self) -> str:
        """Name to show, such as ``fashion-mnist, 6,000 rows``."""
        return f"{self.data}, {'all' if self.rows is None else f'{self.rows:,}'} rows"


@dataclass(frozen=True)
class Suite:
    """What a benchmark file declares: one benchmark for several tasks and seeds; most have one of each.

    Attributes
    ----------
    benchmark : Benchmark
        What all runs share; its data, rows and seed are those of the first.
    tasks : tuple of Task
    n_seeds : int
        Each task has a run for each seed; they lie `STRIDE` apart.
    """

    benchmark: Benchmark
    tasks: tuple[Task, ...]
    n_seeds: int = 1

    @property
    def is_single(self) -> bool:
        """Whether it is one run."""
        return len(self.tasks) * self.n_seeds == 1

    def seeds(self) -> range:
        """Give the seeds of each task, see `seeds`."""
        return seeds(self.benchmark.seed, self.n_seeds)

    def of_task(self, task: Task, seed: int | None = None) -> Benchmark:
        """Give the benchmark of one run; None takes the first seed."""
        seed = self.benchmark.seed if seed is None else seed
        return replace(self.benchmark, data=task.data, rows=task.rows, seed=seed)

    def runs(self) -> Iterator[tuple[Task, Benchmark]]:
        """Give what is run: every task with the first seed, then with the next one."""
        return ((task, self.of_task(task, seed)) for seed in self.seeds() for task in self.tasks)
