"""One benchmark from end to end: data, search, ensemble, report."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.loader import load_benchmark, parse_duration
from fmnist_bench.config.space import is_number
from fmnist_bench.config.study import END_SECONDS, HIGHEST_SEED, MOST_VALIDATION, Benchmark
from fmnist_bench.data.dataset import Dataset, Split, load_dataset, make_split, resolve
from fmnist_bench.data.split import validation_count
from fmnist_bench.progress.displays import Progress, make_progress
from fmnist_bench.progress.events import listed
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Store
from fmnist_bench.trials.server import prepare

if TYPE_CHECKING:
    from fmnist_bench.report.findings import Findings
    from fmnist_bench.session import Outcome
    from fmnist_bench.trials.local import Workers

# What is imported within a function takes long, and is not needed before the workers' server has been started.
__all__ = ["FinishedError", "check_benchmark", "rewrite_report", "run_benchmark"]


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
    benchmark, path = _with_data(_with_overrides(_benchmark(name), budget, trials, seed, max_latency), data)
    resize = benchmark.resize if resize is None else resize
    benchmark = replace(benchmark, resize=resize, skip_unreadable=skip_unreadable or benchmark.skip_unreadable)
    n_workers = _n_workers(workers)
    if n_workers is not None and cluster:
        raise InputError(f"workers {workers}: not with --cluster, whose workers set the number; leave it out")
    if weights is not None and not Path(weights).is_dir():
        raise InputError(f"weights {weights}: no such folder")
    allow_import = _prefixes(allow_import)
    given = data if isinstance(data, Dataset) else None
    progress = progress or make_progress()
    if given is None:
        progress.message(f"Reading {benchmark.data}")
    dataset, split = _load(benchmark, path, allow_import, given)
    progress.message("Building every configuration once, to find mistakes before the first trial")

    from fmnist_bench.search.allocation import Clock
    from fmnist_bench.session import Options, Session
    from fmnist_bench.tracking.client import empty_database

    threading.Thread(target=empty_database, daemon=True).start()
    benchmark = _check(benchmark, allow_import).for_rows(len(split.train), len(dataset.classes))
    places = _open_workers(benchmark, n_workers, cluster)
    store = Store(mlruns)
    about = benchmark.name, benchmark.digest(), dataset.fingerprint
    with contextlib.closing(places), store.open_run(*about, fresh) as run:
        clock = Clock(benchmark.budget, float(run.state["seconds"]), started)
        folder = None if weights is None else str(Path(weights).resolve())
        options = Options(path, tracking_uri, allow_import, folder)
        session = Session(benchmark, dataset, split, run, clock, places, progress, options)
        if session.is_finished and not again:
            raise FinishedError(run.folder)
        return session.play()


def check_benchmark(
    name: str | Path | Benchmark, data: str | Path | None = None, allow_import: Sequence[str] = ()
) -> str:
    """Build everything that a run would build, train nothing, write nothing; say what there is."""
    benchmark, path = _with_data(_benchmark(name), data)
    allow_import = _prefixes(allow_import)
    dataset, split = _load(benchmark, path, allow_import)
    benchmark = _check(benchmark, allow_import)
    return (
        f"{benchmark.name}: {dataset.name}, {len(split.train)} fit and {len(split.validation)} validation rows, "
        f"{listed([study.name for study in benchmark.studies])}: every configuration can be built"
    )


def rewrite_report(
    name: str | Path,
    mlruns: str | Path = "mlruns",
    allow_import: Sequence[str] = (),
    markdown: str | Path | None = None,
    test: Dataset | None = None,
) -> Findings:
    """Write the report of a run again, from the store alone.

    Parameters
    ----------
    name : str or Path
        As `newest_run` takes it.
    mlruns : str or Path
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.
    markdown : str, Path or None
        Where to write the Markdown report as well.
    test : Dataset or None
        Test rows for a run that has none of its own; they are opened once, and cannot be exchanged for others.
    """
    from fmnist_bench.report.gather import report_files, write_report
    from fmnist_bench.report.mlflow_notes import renew
    from fmnist_bench.report.opening import open_test_set

    if markdown is not None and (Path(markdown).is_dir() or not Path(markdown).absolute().parent.is_dir()):
        raise InputError(f"{markdown}: there is no such folder; name a file in an existing one")
    with open_folder(newest_run(name, mlruns)) as run:
        if "environment" not in run.state:
            again = f"python -m fmnist_bench run {run.state['benchmark']} continues it"
            raise InputError(f"{run.folder}: this run is not finished; {again}")
        if test is None and run.state.get("handed_over"):
            raise InputError(f"{run.folder}: its test rows were arrays; AutoClassifier.report takes them again")
        with open_test_set(run, _prefixes(allow_import), test=test) as opened:
            findings = write_report(run, opened, run.state["environment"])
        renew(run, report_files(run))
    if markdown is not None:
        write_text(Path(markdown), (run.folder / "report.md").read_text(encoding="utf-8"))
    return findings


def _open_workers(benchmark: Benchmark, n: int | None, cluster: str) -> Workers:
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


def _with_overrides(
    benchmark: Benchmark, budget: float | str | None, trials: int | None, seed: int | None, max_latency: float | None
) -> Benchmark:
    if trials is not None and not (_is_whole(trials) and trials >= 1):
        raise InputError(f"trials {trials!r}: must be a whole number of at least 1")
    if seed is not None and not (_is_whole(seed) and 0 <= seed <= HIGHEST_SEED):
        raise InputError(f"seed {seed!r}: must be a whole number of at least 0 and at most {HIGHEST_SEED}")
    if max_latency is not None:
        if not is_number(max_latency) or max_latency <= 0:
            raise InputError(f"max-latency {max_latency!r}: must be a number of milliseconds above 0")
        benchmark = replace(benchmark, ensemble=replace(benchmark.ensemble, max_latency=max_latency))
    if trials is not None:
        benchmark = replace(benchmark, trials=int(trials), budget=None)
    benchmark = replace(benchmark, budget=benchmark.budget if budget is None else parse_duration(budget))
    if benchmark.budget is not None and benchmark.budget <= END_SECONDS:
        raise InputError(
            f"budget {benchmark.budget:g} s: must be more than the {END_SECONDS:g} s kept aside for ensemble and report"
        )
    return benchmark if seed is None else replace(benchmark, seed=int(seed))


def _n_workers(workers: int | str | None) -> int | None:
    """Give how many workers were asked for, None where that is left to the program; the command line gives text."""
    if workers is None or workers == "auto":
        return None
    text = str(workers).strip() if isinstance(workers, str) or _is_whole(workers) else ""
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1:
        raise InputError(f"workers {workers!r}: must be a whole number of at least 1, or auto")
    return int(text)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _prefixes(allow_import: Sequence[str]) -> tuple[str, ...]:
    if isinstance(allow_import, str) or not all(isinstance(prefix, str) and prefix for prefix in allow_import):
        raise InputError(f'allow-import {allow_import!r}: must be a list of prefixes, such as ["my_package"]')
    return tuple(allow_import)


def _benchmark(name: str | Path | Benchmark) -> Benchmark:
    if not isinstance(name, str | Path | Benchmark):
        raise InputError(f"{type(name).__name__}: must be the name of a benchmark or a study, a path, or a Benchmark")
    return name if isinstance(name, Benchmark) else load_benchmark(name)


def _with_data(benchmark: Benchmark, data: str | Path | Dataset | None) -> tuple[Benchmark, Path | None]:
    """Let `data` stand for the benchmark's own; both take the same names and paths."""
    if isinstance(data, Dataset):
        if not data.in_memory:  # its test rows must be those that belong to its train rows
            raise InputError(f"data: a loaded data set; give its name or path, such as {data.name!r}, instead")
        return replace(benchmark, data=data.name), None
    if not isinstance(data, str | Path | None):
        raise InputError(f"data {type(data).__name__}: must be a name or a path; AutoClassifier.fit takes arrays")
    name, path = resolve(benchmark.data if data is None else data)
    return replace(benchmark, data=name), path


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


def _load(
    benchmark: Benchmark, path: Path | None, allow_import: tuple[str, ...], given: Dataset | None = None
) -> tuple[Dataset, Split]:
    """Start the server of the workers, whose imports take seconds and go on meanwhile; read and divide the rows."""
    prepare((use for study in (*benchmark.studies, *benchmark.students) for use in study.space.uses), allow_import)
    dataset = load_dataset(benchmark.data, "train", path=path, **benchmark.reading) if given is None else given
    return dataset, _split(benchmark, dataset)


def _check(benchmark: Benchmark, allow_import: tuple[str, ...]) -> Benchmark:
    """Build everything that the studies may come to; give the benchmark with what was learnt about them."""
    from fmnist_bench.search._optuna_space import check_drawing
    from fmnist_bench.trials.hypermodel_space import with_hyperspaces
    from fmnist_bench.trials.process import check_in_worker

    benchmark = with_hyperspaces(benchmark, allow_import)
    for study in benchmark.studies:
        check_drawing(study)
    return benchmark.with_compressing(check_in_worker(benchmark.studies, allow_import, benchmark.students))
