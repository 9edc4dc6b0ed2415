"""One call of `run_benchmark`, after everything that the user gave has been checked: search, ensemble, report."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fmnist_bench._utils.environment import command, cores, machine, versions
from fmnist_bench.config.study import NETWORKS, Benchmark
from fmnist_bench.data.dataset import Dataset, Split, absolute
from fmnist_bench.ensemble.choose import choose_ensemble, members_of
from fmnist_bench.ensemble.serving import column_names
from fmnist_bench.progress.displays import Progress
from fmnist_bench.progress.events import clock as time_used
from fmnist_bench.report import mlflow_notes
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.gather import report_files, write_report
from fmnist_bench.report.kept_scores import SCORES
from fmnist_bench.report.opening import open_test_set, predict_kept
from fmnist_bench.runner.arguments import Options
from fmnist_bench.runner.end_phase import TEST_ROWS, end_seconds, writing_seconds
from fmnist_bench.runner.outcome import Outcome
from fmnist_bench.search.allocation import Clock
from fmnist_bench.search.loop import Search, SearchSettings, make_study_searches
from fmnist_bench.search.study import StudySearch
from fmnist_bench.search.teaching import Teaching
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.tracking.registry import FINE_TUNED, registered_name
from fmnist_bench.tracking.tracker import Tracker
from fmnist_bench.trials.local import Workers
from fmnist_bench.trials.process import GRACE
from fmnist_bench.trials.stop import stops_on_signal


class Session:
    """One call of `run_benchmark`."""

    def __init__(
        self,
        benchmark: Benchmark,
        dataset: Dataset,
        split: Split,
        run: Run,
        clock: Clock,
        workers: Workers,
        progress: Progress,
        options: Options,
    ) -> None:
        self.benchmark, self.dataset, self.split, self.run = benchmark, dataset, split, run
        self.clock, self.workers, self.progress, self.options = clock, workers, progress, options

    @property
    def is_finished(self) -> bool:
        """Whether an earlier call came to its end with this budget, and nobody stopped it."""
        state, benchmark = self.run.state, self.benchmark
        extent = state.get("budget"), state.get("trials")
        return "scores" in state and not state.get("stopped") and extent == (benchmark.budget, benchmark.trials)

    def play(self) -> Outcome:
        """Search, choose, report."""
        try:
            return self._play()
        finally:
            self.progress.run_ended()

    def _play(self) -> Outcome:
        uri, say = self.options.tracking_uri, self.progress.message
        # First: what MLflow refuses leaves nothing behind that `report` could take for a run.
        tracker = Tracker(self.run, self.benchmark.name, self._tags(), uri, say)
        try:
            return self._track(tracker)
        except BaseException as error:  # MLflow would show it as running
            tracker.close("FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    def _track(self, tracker: Tracker) -> Outcome:
        self._open()
        for note in self.dataset.notes:
            self.progress.message(f"{self.dataset.name}: {note}")
        for study in (*self.benchmark.studies, *self.benchmark.students):
            tracker.open_study(study.name, study.space.name, study.settings)
        tracker.show(partial(mlflow_notes.begin, about=self._about(), dataset=self.dataset, split=self.split))
        search = self._search(tracker)
        then = "writing the report" if self.dataset.in_memory else "opening the test set for the report"
        self.progress.message(f"Choosing the ensemble, then {then}")
        self._choose(search.studies)
        self._teach(search)
        self.run.save_state(stopped=search.stop.is_set(), environment=self._environment())
        with open_test_set(self.run, self.options.allow_import, self.progress.message) as opened:
            self._register(tracker)
            left = partial(self.clock.left, writing_seconds(search.studies))
            findings = write_report(self.run, opened, self.run.state["environment"], left)
        self._log(findings, tracker)
        if opened.test is not None and not search.stop.is_set():
            in_time = partial(self.clock.left, GRACE)
            with contextlib.suppress(KeyboardInterrupt):  # what is missing is made when it is asked for
                predict_kept(self.run, opened.test, self.options.allow_import, in_time, self.progress.message)
        self.run.save_state(seconds=self.clock.elapsed)
        return Outcome(self.run.folder, findings, self.clock.elapsed, search.stop.is_set())

    def _about(self) -> str:
        return mlflow_notes.of_benchmark(self.benchmark, self.dataset, self.split)

    def _open(self) -> None:
        data = self.dataset
        for of_the_call_before in ("environment", "scores", "test_scores"):  # no report may mix the two
            self.run.state.pop(of_the_call_before, None)
        self.run.save_split(self.split, data.y)
        self.run.save_state(
            data=data.name if data.in_memory else absolute(self.benchmark.data),
            in_memory=data.in_memory,
            data_path=None if self.options.data_path is None else str(self.options.data_path),
            reading=self.benchmark.reading,
            notes=data.notes,
            fingerprint=data.fingerprint,
            classes=data.classes.tolist(),
            class_names=data.class_names,
            image_shape=data.image_shape,
            seed=self.benchmark.seed,
            budget=self.benchmark.budget,
            trials=self.benchmark.trials,
            settings=replace(self.benchmark, seed=0).digest(),
            machine=machine(),
            command=command(),
            students=[student.name for student in self.benchmark.students],
            parts={study.name: study.parts for study in self.benchmark.studies},
            ranges={
                study.name: {name: (r.low, r.high) for name, r in study.ranges().items() if not r.choices}
                for study in self.benchmark.studies
            },
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
        benchmark, sizes = self.benchmark, self.run.model_sizes()
        return {
            "command": command(),
            "budget": "none" if benchmark.budget is None else f"{benchmark.budget:.0f} s",
            "used until the report": f"{self.clock.elapsed:.0f} s",
            "trials of each study": "by time" if benchmark.trials is None else str(benchmark.trials),
            "seed": str(benchmark.seed),
            "kept models": f"{len(sizes)}, {sum(sizes) / 2**20:.1f} MiB (per_study = {benchmark.ensemble.per_study})",
            **self.run.state["machine"],
        }

    def _search(self, tracker: Tracker) -> Search:
        benchmark, counted = self.benchmark, self.benchmark.budget is None or self.benchmark.trials is not None
        self._withdraw_damaged(tracker)
        studies = make_study_searches(benchmark.studies, self.run, benchmark.seed, counted)
        settings = SearchSettings(
            partial(self.run.store.rows, self.dataset),
            self.split,
            benchmark.seed,
            benchmark.trials,
            benchmark.ensemble.per_study,
            self.options.allow_import,
            self.options.weights_dir,
            self._gives_rows_back,
        )
        search = Search(studies, self.run, tracker, self.clock, self.workers, settings, self.progress)
        names = [study.name for study in (*benchmark.studies, *benchmark.students)]
        if n := sum(len(study.records) for study in studies):
            used = time_used(float(self.run.state["seconds"]))
            self.progress.message(f"Going on after {n} {'trial' if n == 1 else 'trials'}, {used} used")
        self.progress.run_started(benchmark.name, benchmark.budget, names, self.clock.elapsed)
        for study in studies:
            self._show_state(study)
        search.settle()
        with stops_on_signal(search.interrupt):
            search.loop(lambda: self._end_seconds(search) + self._teaching_seconds(search))
        return search

    @property
    def _gives_rows_back(self) -> bool:
        """Whether networks may learn from the validation rows in the end: not from official ones, which only choose."""
        official = self.dataset.official_split is not None and self.benchmark.valid_size is None
        return self.benchmark.ensemble.refit == NETWORKS and not official

    def _withdraw_damaged(self, tracker: Tracker) -> None:
        """Make rows with their reason of trials whose files others have damaged; their parameters are asked again."""
        for study in self.benchmark.studies:
            for record in self.run.withdraw_damaged(study.name, self.benchmark.ensemble.per_study):
                self.progress.message(f"{study.name} trial {record.number} is tried again: {record.result.reason}")
                tracker.forget_trial(record.study, record.number)
                tracker.log_trial(record)

    def _show_state(self, search: StudySearch) -> None:
        if search.records:
            counts: dict[str, int] = {}
            for record in search.records:
                counts[record.status] = counts.get(record.status, 0) + 1
            best = search.best(1)
            accuracy = best[0].result.accuracy if best else None
            self.progress.study_state(search.study.name, counts, accuracy, sum(r.seconds for r in search.records))

    def _choose(self, studies: Sequence[StudySearch]) -> None:
        """Choose and save the ensemble of the best trials, if there is any."""
        settings, say, allowed = self.benchmark.ensemble, self.progress.message, self.options.allow_import
        self.run.save_state(given_up=[])  # what an earlier call could not use may be there again
        if records := [record for study in studies for record in study.best(settings.per_study)]:
            choose_ensemble(self.run, records, self.dataset, settings, say, allowed)

    def _end_seconds(self, search: Search) -> float:
        n_test = len(self.split.validation) if self.dataset.in_memory else TEST_ROWS
        return end_seconds(search.studies, self.benchmark.ensemble.per_study, len(self.split.validation), n_test)

    def _teaching(self, search: Search) -> Teaching | None:
        config = self.benchmark.distill
        return None if config is None else Teaching(search, config, self.dataset)

    def _teaching_seconds(self, search: Search) -> float:
        if (teaching := self._teaching(search)) is None:
            return 0.0
        n = self.benchmark.ensemble.per_study
        return teaching.seconds([record for study in search.studies for record in study.best(n)])

    def _teach(self, search: Search) -> None:
        """Let the ensemble teach, where the benchmark says so; Ctrl-C leads to the report."""
        if (teaching := self._teaching(search)) is not None:
            with stops_on_signal(search.interrupt):
                teaching.teach(self._end_seconds(search))

    def _register(self, tracker: Tracker) -> None:
        """Register the ensemble, if there is any; each of its members is known to load and to predict."""
        if not self.run.state.get("members"):
            return
        tags = {
            "data_fingerprint": self.dataset.fingerprint,
            "train_rows": len(self.split.train),
            "validation_rows": len(self.split.validation),
            "valid_accuracy": self.run.state["latency"]["ensemble"][1],
            "seed": self.benchmark.seed,
        }
        records = [self.run.record(study, number) for study, number, _ in members_of(self.run)]
        if any(record is not None and record.result.fine_tuned for record in records):
            tags[FINE_TUNED] = True
        name = registered_name(self.dataset.name, self.benchmark.name)
        example, columns = self.dataset.X[self.split.validation[:1]], column_names(self.dataset.class_names)
        tracker.register(name, tags, example, columns)

    def _log(self, findings: Findings, tracker: Tracker) -> None:
        rows = {who.name: findings.scores(who) for who in findings.everyone if who.scored}
        scores = {name: {key: float(row[key]) for key in SCORES if key in row} for name, row in rows.items()}
        tracker.log_summary(scores.pop("ensemble", {}), report_files(self.run), scores)
        tracker.show(partial(mlflow_notes.end, about=self._about(), findings=findings))
        tracker.close("FINISHED" if findings.ensemble else "FAILED")
