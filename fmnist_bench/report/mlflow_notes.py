"""What MLflow's pages show of a benchmark beside its trials: words, marks, the rows learnt from, the newest report."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from fmnist_bench._utils.digests import digest_of
from fmnist_bench.config.study import Benchmark
from fmnist_bench.data.dataset import Dataset, Split
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.markdown import md
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.tracking.client import patience, reason
from fmnist_bench.tracking.folder import BEGAN
from fmnist_bench.tracking.servers import BEST, TRIALS, view_page
from fmnist_bench.tracking.store import DESCRIPTION, MlflowStore

log = logging.getLogger(__name__)
MARKS = "best", "weight"  # tags of a trial
UPLOAD_SECONDS = 120  # for the answer to a report
WAY = """
Each run is one call of the benchmark; below it is a run for each study, and below that one for each trial, with its
parameters, learning curves, validation probabilities and log.
"""
LISTS = {  # title: name of the view, filter of MLflow's table of runs
    "best trial of each study": (BEST, 'tags.best = "yes"'),
    "members of the ensemble": ("members", "tags.weight LIKE '%'"),
    "all trials": (TRIALS, 'tags.level = "trial"'),
    "those that failed": ("failed", 'attributes.status = "FAILED" AND tags.level = "trial"'),
}
COLUMNS = ["metrics.`valid_accuracy`", "metrics.`valid_log_loss`", "metrics.`fit_seconds`", "params.`rows`"]
COLUMNS += ["tags.`weight`", "tags.`status`"]


def of_benchmark(benchmark: Benchmark, dataset: Dataset, split: Split) -> str:
    """Say what is compared, on what, and for how long."""
    shape, n_classes = " x ".join(map(str, dataset.image_shape)), len(dataset.class_names)
    rows = f"{len(split.train):,} train and {len(split.validation):,} validation rows"
    rows += f" of {shape} pixels, {n_classes} classes"
    studies = ", ".join(md(study.name) for study in benchmark.studies)
    return (
        f"**{md(benchmark.name)}**, a benchmark of fmnist_bench, on **{md(dataset.name)}**: {rows}. "
        f"{_extent(benchmark)}, seed {benchmark.seed}.\n\nStudies: {studies}."
    )


def ways(experiment: str) -> str:
    """Say what lies where, with links to views of trials, each sorted by validation accuracy."""
    lists = ", ".join(f"[{title}]({view_page(experiment, key)})" for title, (key, _) in LISTS.items())
    return f"{' '.join(WAY.split())}\n\nBy validation accuracy: {lists}."


def of_result(findings: Findings, report: str) -> str:
    """Say which model is the one to use; `report` is the address of the report on MLflow's pages."""
    who = findings.choice
    if who is None:
        return f"No trial was complete: the [report]({report}) says why."
    score = findings.scores(who)
    right, low, high = (100 * float(score[f"{findings.part}_{key}"]) for key in ("accuracy", "low", "high"))
    return (
        f"Newest result: **{md(who.name)}**, {right:.2f} % of {len(findings.y):,} {findings.measured} rows right "
        f"(95 % interval {low:.2f} to {high:.2f} %). [Report]({report})"
    )


def begin(store: MlflowStore, run: Run, about: str, dataset: Dataset, split: Split) -> None:
    """Say what is compared, and which rows are learnt from: fit and valid ones, the test rows are no input."""
    for title, (key, query) in LISTS.items():
        store.share_view(key, title, query, COLUMNS)
    run.save_state(has_views=True)
    about = f"{about}\n\n{ways(store.experiment)}"
    if not store.note:  # it may tell how the run before this one ended
        store.note = about
    run_id = str(run.state["mlflow_run"])
    store.tag(run_id, {DESCRIPTION: about})
    for context, rows in (("training", split.train), ("validation", split.validation)):
        digest = digest_of(dataset.fingerprint, rows)
        shape = (len(rows), dataset.X.shape[1])
        store.log_input(run_id, context, f"{dataset.name} {context}", digest, str(run.state["data"]), shape)


def end(store: MlflowStore, run: Run, about: str, findings: Findings) -> None:
    """Say how it ended, and mark the best trial of each study and the members of the ensemble."""
    run_id = str(run.state["mlflow_run"])
    report = f"#/experiments/{store.experiment}/runs/{run_id}/artifacts/report.html"
    store.note = f"{of_result(findings, report)}\n\n{about}\n\n{ways(store.experiment)}"
    store.tag(run_id, {DESCRIPTION: store.note})
    best = {who.name: who.trial for who in findings.contestants if who.trial is not None}
    mark(store, run, best, findings.members)


def mark(store: MlflowStore, run: Run, best: Mapping[str, int], members: Iterable[tuple[str, int, float]]) -> None:
    """Mark the best trial of each study, and the members with their weights; nobody else, who may have been before."""
    marks = {key: {"best": "yes"} for key in best.items()}
    for study, number, weight in members:
        marks.setdefault((study, number), {})["weight"] = f"{weight:.3f}"
    for trial in store.search(level="trial", **{BEGAN: run.state["created"]}):
        tags = trial.data.tags
        wanted = marks.get((tags["study"], int(tags["trial"])), {})
        if changes := {name: wanted.get(name) for name in MARKS if wanted.get(name) != tags.get(name)}:
            store.tag(trial.info.run_id, changes)


def renew(run: Run, files: Iterable[Path]) -> None:
    """Replace artifacts of a run that has ended, where its store can be reached; else say that they are old."""
    uri = str(run.state.get("tracking_uri") or "")
    own = None if uri else run.store.folder / "artifacts"
    try:
        with patience():
            store = MlflowStore(uri or run.store.tracking_uri, str(run.state["benchmark"]), own, make=False)
            there = store.client.get_run(run.state["mlflow_run"]).info
        with patience(UPLOAD_SECONDS):
            for path in files:
                store.put(there, path)
    except Exception as error:  # a store raises whatever its libraries raise
        log.warning("MLflow keeps the report as it was: %s", reason(error, uri))


def _extent(benchmark: Benchmark) -> str:
    budget = "" if benchmark.budget is None else f"budget {benchmark.budget / 60:g} minutes for everything"
    if benchmark.trials is None and budget:
        return budget.capitalize()
    n = benchmark.trials or 1
    return ", ".join(filter(None, (f"{n} {'trial' if n == 1 else 'trials'} of each study", budget)))
