"""Run a benchmark from end to end, or check that it could be run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.study import Benchmark
from fmnist_bench.data.dataset import Dataset
from fmnist_bench.progress.displays import Progress, make_progress
from fmnist_bench.progress.events import listed
from fmnist_bench.runner.arguments import (
    Options,
    benchmark_of,
    prefixes,
    weights_folder,
    with_data,
    with_overrides,
    with_reading,
    worker_count,
)
from fmnist_bench.runner.setup import check_studies, load_rows, open_workers
from fmnist_bench.storage.run_folder import Store

if TYPE_CHECKING:
    from fmnist_bench.runner.outcome import Outcome


class FinishedError(InputError):
    """A run has come to its end with this budget, and was not to go on; `folder` is its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: has come to its end with this budget")
        self.folder = folder


def run_benchmark(
    name: str | Path | Benchmark,
    *,
    budget: float | str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    fresh: bool = False,
    data: str | Path | Dataset | None = None,
    resize: int | None = None,
    skip_unreadable: bool = False,
    mlruns: str | Path = "mlruns",
    workers: int | str | None = None,
    cluster: str = "",
    tracking_uri: str = "",
    allow_import: Sequence[str] = (),
    weights: str | Path | None = None,
    max_latency: float | None = None,
    refit: str | None = None,
    progress: Progress | None = None,
    started: float | None = None,
    again: bool = True,
) -> Outcome:
    """Run a benchmark, or go on with it where an earlier call was stopped.

    Parameters
    ----------
    name : str, Path or Benchmark
        Name of a benchmark or a study, or the path of a TOML file.
    budget : float, str or None
        Wall-clock time for everything, earlier calls of the same run included: seconds, or such as ``"10m"``; None
        takes the benchmark's.
    trials : int or None
        Number of trials of each study instead of the benchmark's budget; with `budget` what is used up first ends it.
    seed : int or None
        None takes the benchmark's.
    fresh : bool
        Begin a new run although there is one of the same benchmark; the old one stays.
    data : str, Path, Dataset or None
        A data set as `load_dataset` takes it, by name or path; a folder with Fashion-MNIST's files; or rows in memory
        that belong to none, such as `AutoClassifier` makes.
    resize : int or None
        Pixels each way to which images are brought, 1 to 1024; None takes the benchmark's.
    skip_unreadable : bool
        Leave image files out that cannot be read; the benchmark may say so, too.
    mlruns : str or Path
        Folder of everything that is written.
    workers : int, "auto" or None
        Trials that run side by side, at least 1; ``"auto"`` or None take what is fastest, see `LocalWorkers`.
    cluster : str
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers run the trials; empty for this machine.
    tracking_uri : str
        Of another MLflow store, such as ``http://host:5000``; empty for the database in `mlruns`.
    allow_import : sequence of str
        Prefixes of modules that studies may name beside those of this package, scikit-learn and XGBoost.
    weights : str, Path or None
        Folder with files of pretrained weights, looked at before Keras' cache.
    max_latency : float or None
        Milliseconds that the ensemble may take to predict a row, above 0; None takes the benchmark's.
    refit : {"no", "networks"} or None
        Whether the networks of the train phase, once they are scored, learn from the validation rows as well; None
        takes the benchmark's.
    progress : Progress or None
        Is told what happens; None chooses by the standard output.
    started : float or None
        When the budget began, by ``time.monotonic()``; None means now.
    again : bool
        Go on with a run, to choose and report again, although it has come to its end with just this budget. False
        leaves it as it is.

    Raises
    ------
    InputError
        Where something that the user gave cannot be used, before the first trial; or later, where the scheduler of a
        cluster is gone or data of one's own have changed: what has ended is kept.
    FinishedError
        Where the run has come to its end and is not to go on.
    """
    started = time.monotonic() if started is None else started
    benchmark, path = with_data(with_overrides(benchmark_of(name), budget, trials, seed, max_latency, refit), data)
    benchmark = with_reading(benchmark, resize, skip_unreadable)
    n_workers = worker_count(workers, cluster)
    options = Options(path, tracking_uri, prefixes(allow_import), weights_folder(weights))
    given = data if isinstance(data, Dataset) else None
    progress = progress or make_progress()
    if given is None:
        progress.message(f"Reading {benchmark.data}")
    dataset, split = load_rows(benchmark, path, options.allow_import, given)
    progress.message("Building every configuration once, to find mistakes before the first trial")

    from fmnist_bench.runner.session import Session
    from fmnist_bench.search.allocation import Clock
    from fmnist_bench.tracking.client import empty_database

    threading.Thread(target=empty_database, daemon=True).start()
    benchmark = check_studies(benchmark, options.allow_import).for_rows(len(split.train), len(dataset.classes))
    about = benchmark.name, benchmark.digest(), dataset.fingerprint
    with (
        contextlib.closing(open_workers(benchmark, n_workers, cluster)) as places,
        Store(mlruns).open_run(*about, fresh) as run,
    ):
        clock = Clock(benchmark.budget, float(run.state["seconds"]), started)
        session = Session(benchmark, dataset, split, run, clock, places, progress, options)
        if session.is_finished and not again:
            raise FinishedError(run.folder)
        return session.play()


def check_benchmark(
    name: str | Path | Benchmark, data: str | Path | None = None, allow_import: Sequence[str] = ()
) -> str:
    """Build everything that a run would build, train nothing, write nothing; say what there is."""
    benchmark, path = with_data(benchmark_of(name), data)
    allow_import = prefixes(allow_import)
    dataset, split = load_rows(benchmark, path, allow_import)
    benchmark = check_studies(benchmark, allow_import)
    return (
        f"{benchmark.name}: {dataset.name}, {len(split.train)} fit and {len(split.validation)} validation rows, "
        f"{listed([study.name for study in benchmark.studies])}: every configuration can be built"
    )
