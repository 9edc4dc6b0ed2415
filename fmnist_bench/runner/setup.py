"""What a run needs before its first trial: rows that are read and divided, studies that can be built, workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_bench.config.study import MOST_VALIDATION, Benchmark
from fmnist_bench.data.dataset import Dataset, Split, load_dataset, make_split
from fmnist_bench.data.split import validation_count
from fmnist_bench.trials.server import prepare

if TYPE_CHECKING:
    from fmnist_bench.trials.local import Workers

# What is imported within a function takes long, and is not needed before the workers' server has been started.


def open_workers(benchmark: Benchmark, n: int | None, cluster: str) -> Workers:
    """As many workers as were asked for, or as pay; no more than there are trials to run."""
    from fmnist_bench.trials.local import LocalWorkers

    workers: Workers
    if cluster:
        from fmnist_bench.trials.dask_cluster import Cluster

        workers = Cluster(cluster, [use for space in benchmark.spaces for use in space.uses])
    else:
        trials = benchmark.trials or (1 if benchmark.budget is None else None)
        workers = LocalWorkers(n, None if trials is None else trials * len(benchmark.studies))
    for space in (*benchmark.spaces, *(student.space for student in benchmark.students)):
        workers.check(space.resources, f"study {space.name}")
    return workers


def _split(benchmark: Benchmark, dataset: Dataset) -> Split:
    """Divide the rows; a benchmark that wants more than there are gets all, and the same share of them is validation.

    Official validation rows are kept, where there are any and the benchmark sets no `valid_size`.
    """
    n, n_classes, official = len(dataset.y), len(dataset.classes), dataset.official_split
    rows, valid_size = benchmark.rows, benchmark.valid_size
    if rows is not None and rows > n:
        valid_size = max(1, round(valid_size * n / rows)) if isinstance(valid_size, int) else valid_size
        rows = None

    def n_validation(n_rows: int) -> int:
        if valid_size is not None:
            return validation_count(valid_size, n_rows, n_classes)
        most = min(round(n_rows / 6), MOST_VALIDATION) if official is None else len(official.validation) * n_rows // n
        return max(n_classes, most)

    whole = official if valid_size is None else None
    if whole is None:
        whole = make_split(dataset.y, n_validation(n), benchmark.seed, class_names=dataset.class_names)
    if rows is None or rows == n:
        return whole
    return whole.nested(dataset.y, rows, n_validation(rows), benchmark.seed, dataset.class_names)


def load_rows(
    benchmark: Benchmark, path: Path | None, allow_import: tuple[str, ...], given: Dataset | None = None
) -> tuple[Dataset, Split]:
    """Start the server of the workers, whose imports take seconds and go on meanwhile; read and divide the rows."""
    prepare((use for study in (*benchmark.studies, *benchmark.students) for use in study.space.uses), allow_import)
    dataset = load_dataset(benchmark.data, "train", path=path, **benchmark.reading) if given is None else given
    return dataset, _split(benchmark, dataset)


def check_studies(benchmark: Benchmark, allow_import: tuple[str, ...]) -> Benchmark:
    """Build everything that the studies may come to; give the benchmark with what was learnt about them."""
    from fmnist_bench.search._optuna_space import check_drawing
    from fmnist_bench.trials.hypermodel_space import with_hyperspaces
    from fmnist_bench.trials.process import check_in_worker

    benchmark = with_hyperspaces(benchmark, allow_import)
    for study in benchmark.studies:
        check_drawing(study)
    return benchmark.with_compressing(check_in_worker(benchmark.studies, allow_import, benchmark.students))
