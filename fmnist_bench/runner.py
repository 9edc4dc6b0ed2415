"""One benchmark from end to end: data, search, ensemble, report."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_bench.budget import Clock
from fmnist_bench.config import load_benchmark
from fmnist_bench.data import NAMES, Dataset, Split, load_dataset, make_split
from fmnist_bench.ensemble import greedy_selection, save_ensemble
from fmnist_bench.environment import command, cores, machine, versions
from fmnist_bench.errors import InputError
from fmnist_bench.progress import Progress, make_progress
from fmnist_bench.report import write_report
from fmnist_bench.reporting.findings import Findings
from fmnist_bench.search import ArmSearch, Search, SearchSettings
from fmnist_bench.store import Run, Store, write_text
from fmnist_bench.study import Benchmark
from fmnist_bench.tracking import Tracker
from fmnist_bench.worker import check_in_worker, prepare

TEST_ROWS = 10_000  # for the time that predicting them takes; how many there are is unknown until the report
END_SECONDS = 15.0  # loading the models, figures, report; Keras' import included


@dataclass(frozen=True)
class Outcome:
    """Where a run has left its results, and what was found.

    Attributes
    ----------
    folder : Path
        Holds ``report.html``, ``report.md`` and ``ensemble``.
    findings : Findings
    seconds : float
        Of the budget that were used.
    """

    folder: Path
    findings: Findings
    seconds: float


def run_benchmark(
    name: str | Path,
    *,
    budget: float | None = None,
    trials: int | None = None,
    seed: int | None = None,
    fresh: bool = False,
    data: str | Path | None = None,
    mlruns: str | Path = "mlruns",
    allow_import: Sequence[str] = (),
    progress: Progress | None = None,
    started: float | None = None,
) -> Outcome:
    """Run a benchmark, or go on with it where an earlier call was stopped.

    Parameters
    ----------
    name : str or Path
        Name of a benchmark or a study, or the path of a TOML file.
    budget : float or None
        Wall-clock seconds for everything, earlier calls of the same run included; None takes the benchmark's.
    trials : int or None
        Number of trials of each arm instead of a budget.
    seed : int or None
        None takes the benchmark's.
    fresh : bool
        Begin a new run although there is one of the same benchmark; the old one stays.
    data : str, Path or None
        Folder with Fashion-MNIST's files; or another data set: ``digits``, or the path of an ``.npz``.
    mlruns : str or Path
        Folder of everything that is written.
    allow_import : sequence of str
        Prefixes of modules that studies may name beside those of this package, scikit-learn and XGBoost.
    progress : Progress or None
        Is told what happens; None chooses by the standard output.
    started : float or None
        When the budget began, by ``time.monotonic()``; None means now.

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        Where something that the user gave cannot be used; nothing has been written then.
    """
    started = time.monotonic() if started is None else started
    benchmark, path = _with_data(_with_overrides(load_benchmark(name), budget, trials, seed), data)
    dataset, split = _load_and_check(benchmark, path, tuple(allow_import))
    store, progress = Store(mlruns), progress or make_progress()
    with store.open_run(benchmark, dataset.fingerprint, fresh) as run:
        clock = Clock(benchmark.budget, float(run.state["seconds"]), started)
        return _Session(benchmark, dataset, split, run, clock, progress, tuple(allow_import), path).play()


def check_benchmark(name: str | Path, data: str | Path | None = None, allow_import: Sequence[str] = ()) -> str:
    """Build everything that a run would build, train nothing, write nothing; say what there is."""
    benchmark, path = _with_data(load_benchmark(name), data)
    dataset, split = _load_and_check(benchmark, path, tuple(allow_import))
    return (
        f"{benchmark.name}: {dataset.name}, {len(split.fit)} fit and {len(split.valid)} valid rows, "
        f"{len(benchmark.arms)} arms ({', '.join(arm.name for arm in benchmark.arms)}): all can be built"
    )


def rewrite_report(
    name: str, mlruns: str | Path = "mlruns", allow_import: Sequence[str] = (), markdown: str | Path | None = None
) -> Findings:
    """Write the report of the newest run of a benchmark again, from the store alone.

    Parameters
    ----------
    name : str
        Name of the benchmark.
    mlruns : str or Path
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.
    markdown : str, Path or None
        Where to write the Markdown report as well.
    """
    run = Store(mlruns).latest_run(name)
    with run:
        if "environment" not in run.state:
            raise InputError(f"{run.folder}: this run has not come to its end; run {name} again to go on with it")
        findings = write_report(run, run.state["environment"], allow_import)
    if markdown is not None:
        write_text(Path(markdown), (run.folder / "report.md").read_text(encoding="utf-8"))
    return findings


def _with_overrides(benchmark: Benchmark, budget: float | None, trials: int | None, seed: int | None) -> Benchmark:
    if trials is not None and trials < 1:
        raise InputError(f"trials {trials}: must be at least 1")
    if budget is not None and budget <= 0:
        raise InputError(f"budget {budget}: must be above zero seconds")
    if seed is not None and seed < 0:
        raise InputError(f"seed {seed}: must be at least 0")
    if trials is not None:
        benchmark = replace(benchmark, trials=trials, budget=None)
    benchmark = replace(benchmark, budget=benchmark.budget if budget is None else float(budget))
    return benchmark if seed is None else replace(benchmark, seed=seed)


def _with_data(benchmark: Benchmark, data: str | Path | None) -> tuple[Benchmark, Path | None]:
    """Let `data` name another data set (``digits``, an ``.npz``), or the folder of the benchmark's own."""
    if data is None:
        return benchmark, None
    if str(data) in NAMES or str(data).endswith(".npz"):
        return replace(benchmark, data=str(data)), None
    return benchmark, Path(data).resolve()


def _load_and_check(benchmark: Benchmark, path: Path | None, allow_import: tuple[str, ...]) -> tuple[Dataset, Split]:
    prepare(use for study, _ in benchmark.studies for use in study.uses)  # imports go on while the data are read
    dataset = load_dataset(benchmark.data, "train", path=path)
    split = make_split(dataset.y, benchmark.valid_size, benchmark.seed, rows=benchmark.rows)
    check_in_worker(benchmark.arms, allow_import)
    return dataset, split


class _Session:
    """One call of `run_benchmark`, after everything that the user gave has been checked."""

    def __init__(
        self,
        benchmark: Benchmark,
        dataset: Dataset,
        split: Split,
        run: Run,
        clock: Clock,
        progress: Progress,
        allow_import: tuple[str, ...],
        data_path: Path | None,
    ) -> None:
        self.benchmark, self.dataset, self.split, self.run = benchmark, dataset, split, run
        self.clock, self.progress, self.allow_import, self.data_path = clock, progress, allow_import, data_path

    def play(self) -> Outcome:
        """Search, choose, report."""
        try:
            return self._play()
        finally:
            self.progress.run_ended()

    def _play(self) -> Outcome:
        self._open()
        tracker = Tracker(self.run, self.benchmark.name, self._tags())
        for arm in self.benchmark.arms:
            tracker.open_arm(arm.name, arm.study.name)
        search = self._search(tracker)
        self.progress.message("Choosing the ensemble, then opening the test set for the report")
        self._choose(search.arms)
        self.run.save_state(environment=self._environment())
        findings = write_report(self.run, self.run.state["environment"], self.allow_import)
        self._log(findings, tracker)
        self.run.save_state(seconds=self.clock.elapsed)
        return Outcome(self.run.folder, findings, self.clock.elapsed)

    def _open(self) -> None:
        data = self.dataset
        self.run.save_split(self.split, data.y)
        self.run.save_state(
            data=data.name if data.name in NAMES else str(Path(self.benchmark.data).resolve()),
            data_path=None if self.data_path is None else str(self.data_path),
            fingerprint=data.fingerprint,
            seed=self.benchmark.seed,
            budget=self.benchmark.budget,
            command=command(),
        )

    def _tags(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark.name,
            "data": self.benchmark.data,
            "data_fingerprint": self.dataset.fingerprint,
            "seed": self.benchmark.seed,
            "threads": cores(),
            **{f"version.{name}": version for name, version in versions().items()},
        }

    def _environment(self) -> dict[str, str]:
        benchmark = self.benchmark
        return {
            "command": command(),
            "budget": "none" if benchmark.budget is None else f"{benchmark.budget:.0f} s",
            "used until the report": f"{self.clock.elapsed:.0f} s",
            "trials of each arm": "by time" if benchmark.trials is None else str(benchmark.trials),
            "seed": str(benchmark.seed),
            "repetitions": "1",
            **machine(),
        }

    def _search(self, tracker: Tracker) -> Search:
        benchmark, shares = self.benchmark, self.benchmark.shares
        arms = [ArmSearch(arm, self.run, benchmark.seed, shares[arm.name]) for arm in benchmark.arms]
        rows = self.run.store.rows(self.dataset)
        settings = SearchSettings(
            rows, self.split, benchmark.seed, benchmark.trials, benchmark.ensemble.per_arm, self.allow_import
        )
        search = Search(arms, self.run, tracker, self.clock, settings, self.progress)
        self.progress.run_started(benchmark.name, self.clock.left(), [arm.arm.name for arm in arms])
        for arm in arms:
            self._show_state(arm)
        search.settle()
        with _stops_on_signal(search.stop, self.progress):
            search.loop(lambda: self._end_seconds(arms))
        return search

    def _show_state(self, search: ArmSearch) -> None:
        if search.records:
            counts: dict[str, int] = {}
            for record in search.records:
                counts[record.result.status] = counts.get(record.result.status, 0) + 1
            best = search.best(1)
            accuracy = best[0].result.accuracy if best else None
            self.progress.arm_state(search.arm.name, counts, accuracy, sum(r.seconds for r in search.records))

    def _end_seconds(self, arms: Sequence[ArmSearch]) -> float:
        """Time that ensemble and report will take, from what predicting the valid rows has taken."""
        results = [record.result for arm in arms for record in arm.best(self.benchmark.ensemble.per_arm)]
        predicting = sum(result.predict_seconds for result in results)
        return END_SECONDS + predicting * TEST_ROWS / len(self.split.valid)

    def _choose(self, arms: Sequence[ArmSearch]) -> None:
        """Pick and weight the members by their valid probabilities, save the ensemble."""
        settings = self.benchmark.ensemble
        records = [record for arm in arms for record in arm.best(settings.per_arm)]
        if not records:
            return
        probabilities = np.stack([self.run.valid_probabilities(r.arm, r.number) for r in records])
        weights = greedy_selection(probabilities, self.run.y_valid(), settings.max_steps)
        chosen = [(r, float(weight)) for r, weight in zip(records, weights, strict=True) if weight > 0]
        chosen.sort(key=lambda pair: -pair[1])
        files = [(f"{r.arm}-{r.number}", weight, self.run.model_file(r.arm, r.number)) for r, weight in chosen]
        n_features, n_classes = self.dataset.X.shape[1], len(self.dataset.class_names)
        save_ensemble(self.run.ensemble_folder, files, n_features, self.dataset.fingerprint, range(n_classes))
        self.run.save_state(members=[(r.arm, r.number, weight) for r, weight in chosen])

    def _log(self, findings: Findings, tracker: Tracker) -> None:
        rows = {who.name: findings.scores(who) for who in findings.everyone if who.scored}
        keys = ("valid_accuracy", "test_accuracy", "test_low", "test_high", "test_log_loss", "test_calibration_error")
        scores = {name: {key: float(row[key]) for key in keys} for name, row in rows.items()}
        files = [self.run.folder / name for name in ("report.html", "report.md")]
        tracker.log_summary(scores.pop("ensemble", {}), files, scores)
        tracker.close("FINISHED" if findings.ensemble else "FAILED")


@contextlib.contextmanager
def _stops_on_signal(stop: threading.Event, progress: Progress) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) end the search alone; the second one ends the program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        progress.message("Stopping the search; ensemble and report follow (Ctrl-C again stops at once)")

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])
