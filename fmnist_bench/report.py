"""Opens the test set, once the ensemble is fixed, and writes what was found."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.data import NAMES, Dataset, load_dataset
from fmnist_bench.environment import cores
from fmnist_bench.errors import InputError
from fmnist_bench.job import SAMPLES
from fmnist_bench.registry import serve_hint
from fmnist_bench.reporting.findings import Contestant, Findings, Importances, TrialRow
from fmnist_bench.search import importances
from fmnist_bench.selection import Combination, weighted_mean
from fmnist_bench.store import Run, TrialRecord, best, write_text
from fmnist_bench.trial import PREPARATION
from fmnist_bench.worker import predict_in_worker

Probabilities = NDArray[np.float32]
FIGURES = "figures"  # folder of the PNG files


def write_report(run: Run, environment: Mapping[str, str], allow_import: Sequence[str] = ()) -> Findings:
    """Score the ensemble and the best trial of every arm on the test rows; write the report.

    It is ``report.html``, ``report.md`` and the same figures as PNG in the folder ``figures``.

    Parameters
    ----------
    run : Run
        Its ensemble is chosen and saved.
    environment : mapping of str to str
        What somebody needs to know to run it again.
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.

    Returns
    -------
    Findings
    """
    from fmnist_bench.reporting.draw import write_figures
    from fmnist_bench.reporting.render import render_html, render_markdown

    findings = gather(run, environment, allow_import)
    write_text(run.folder / "report.md", render_markdown(findings))
    write_text(run.folder / "report.html", render_html(findings))
    write_figures(findings, run.folder / FIGURES)
    return findings


def report_files(run: Run) -> list[Path]:
    """Give what `write_report` writes: two files and a folder."""
    return [run.folder / name for name in ("report.html", "report.md", FIGURES)]


def gather(run: Run, environment: Mapping[str, str], allow_import: Sequence[str] = ()) -> Findings:
    """Collect what the store knows of a run, and the test predictions of its best models."""
    records = {arm: run.records(arm) for arm in run.state["arms"]}
    winners = {arm: found[0] for arm, rows in records.items() if (found := best(rows, 1))}
    members = [(arm, int(number), float(weight)) for arm, number, weight in run.state.get("members", [])]
    wanted = {(arm, winner.number) for arm, winner in winners.items()} | {member[:2] for member in members}
    test = _test_rows(run)
    predicted = predict_test(run, wanted, test, allow_import)
    contestants = [_contestant(run, records[arm], winner, predicted) for arm, winner in winners.items()]
    contestants.sort(key=lambda who: -float((who.valid_probabilities.argmax(axis=1) == run.y_valid()).mean()))
    findings = Findings(
        title=run.state["benchmark"],
        class_names=test.class_names,
        y_valid=run.y_valid(),
        y_test=test.y,
        contestants=tuple(contestants),
        ensemble=_ensemble(run, members, records, predicted) if members else None,
        members=tuple(members),
        trials=tuple(_row(record) for rows in records.values() for record in rows),
        environment={**_data(run, test), **environment},
        how_to_open=how_to_open(run),
        temperature=_temperature(run),
        uncalibrated=weighted_mean(*_parts(members, predicted)) if members else None,
        X_test=test.X,
        image_shape=test.image_shape,
        importances=_importances(run, records),
        samples=_samples(run),
        max_latency=_limit(run),
        parts={arm: tuple(parts) for arm, parts in run.state.get("parts", {}).items()},
    )
    return replace(findings, how_to_open={**findings.how_to_open, **_how_to_load(run, findings)})


def _test_rows(run: Run) -> Dataset:
    """Load the test rows, of the data that the run learnt from: those of a user's own may have changed meanwhile."""
    name, where = run.state["data"], run.state["data_path"]
    if name not in NAMES and load_dataset(name, "train").fingerprint != run.state["fingerprint"]:
        raise InputError(f"{name}: has changed since the run began; put back what it learnt from, or run it anew")
    return load_dataset(name, "test", path=where)


def _data(run: Run, test: Dataset) -> dict[str, str]:
    """Say what was learned from and scored on, and when."""
    began, limit = datetime.fromtimestamp(run.state["created"], UTC), _limit(run)
    rows = f"{len(run.y_valid()):,} valid rows, {len(test.y):,} test rows, {' x '.join(map(str, test.image_shape))}"
    return {
        "data": f"{run.state['data']}, {rows}, fingerprint of the train rows {run.state['fingerprint'][:16]}",
        "began": f"{began:%Y-%m-%d %H:%M} UTC",
        **({} if limit is None else {"limit of the ensemble": f"{limit:g} ms a row{_missed(run, limit)}"}),
    }


def _limit(run: Run) -> float | None:
    limit = run.state.get("latency", {}).get("limit")
    return None if limit is None else float(limit)


def _missed(run: Run, limit: float) -> str:
    """Say that no model is as fast as the ensemble should be."""
    cost = run.state["latency"]["ensemble"][0]
    return f", which no model keeps: the fastest takes {cost:.2g} ms" if cost > limit else ""


def _how_to_load(run: Run, findings: Findings) -> dict[str, str]:
    """Say how to load the model to use where it is not the ensemble."""
    who = findings.choice
    if who is None or who.trial is None:
        return {}
    return {"Model": f'fmnist_bench.load_model("{_short(run.model_file(who.name, who.trial))}")'}


def _samples(run: Run) -> dict[str, bytes]:
    """Read the last images that each arm's augmentation drew while it learnt."""
    drawn = {arm: sorted(run.trial_folder(arm, PREPARATION).glob(SAMPLES)) for arm in run.state["arms"]}
    return {arm: paths[-1].read_bytes() for arm, paths in drawn.items() if paths}


def _importances(run: Run, records: Mapping[str, Sequence[TrialRecord]]) -> dict[str, Importances]:
    """Ask which parameters mattered, on that rung of each arm that has most complete trials: rungs do not compare."""
    scores: dict[str, dict[int, float]] = {}
    for arm, rows in records.items():
        complete = [record for record in rows if record.result.status == "complete"]
        rungs = Counter(record.rung for record in complete)
        most = max(rungs, key=lambda rung: (rungs[rung], rung), default=None)
        scores[arm] = {record.number: float(record.result.accuracy or 0) for record in complete if record.rung == most}
    found = importances(run, scores)
    return {arm: Importances(len(scores[arm]), *rest) for arm, rest in found.items()}


def how_to_open(run: Run) -> dict[str, str]:
    """Say how to look at a run and how to load its ensemble."""
    found = {
        "Report": _short(run.folder / "report.html"),
        "MLflow": run.state.get("tracking_uri") or f"python -m fmnist_bench ui --mlruns {_short(run.store.folder)}",
        **serve_hint(run.state.get("registered"), _short(run.store.folder), run.state.get("tracking_uri", "")),
    }
    if run.state.get("members"):
        found["Ensemble"] = f'fmnist_bench.load_ensemble("{_short(run.ensemble_folder)}")'
    return found


def _short(path: Path) -> str:
    """Give the path as seen from the working directory, where it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def predict_test(
    run: Run, wanted: Iterable[tuple[str, int]], test: Dataset, allow_import: Sequence[str]
) -> dict[tuple[str, int], Probabilities]:
    """Predict the test rows with saved models (arm, trial), each in a worker, or read what they predicted before."""
    files = {key: run.trial_folder(*key) / f"test_probabilities-{test.fingerprint[:16]}.npy" for key in sorted(wanted)}
    missing = [key for key, path in files.items() if not path.exists()]
    with ThreadPoolExecutor(cores()) as threads:
        list(
            threads.map(lambda key: predict_in_worker(run.model_file(*key), test.X, files[key], allow_import), missing)
        )
    return {key: np.load(path, allow_pickle=False) for key, path in files.items()}


def _contestant(
    run: Run,
    records: Sequence[TrialRecord],
    winner: TrialRecord,
    predicted: Mapping[tuple[str, int], Probabilities],
) -> Contestant:
    return Contestant(
        name=winner.arm,
        trial=winner.number,
        parameters={**winner.parameters, **winner.fidelity},
        n_trials=dict(Counter(record.result.status for record in records)),
        valid_probabilities=run.valid_probabilities(winner.arm, winner.number),
        test_probabilities=predicted[winner.arm, winner.number],
        fit_seconds=winner.result.fit_seconds,
        predict_seconds=winner.result.predict_seconds,
        search_seconds=sum(record.seconds for record in records),
    )


def _ensemble(
    run: Run,
    members: Sequence[tuple[str, int, float]],
    records: Mapping[str, Sequence[TrialRecord]],
    predicted: Mapping[tuple[str, int], Probabilities],
) -> Contestant:
    probabilities, weights = _parts(members, predicted)
    combination = Combination(weights, _temperature(run))
    results = [next(r.result for r in records[arm] if r.number == number) for arm, number, _ in members]
    return Contestant(
        name="ensemble",
        trial=None,
        parameters={f"{arm} {number}": round(weight, 3) for arm, number, weight in members},
        n_trials={},
        valid_probabilities=combination.apply(np.stack([run.valid_probabilities(arm, n) for arm, n, _ in members])),
        test_probabilities=combination.apply(probabilities),
        fit_seconds=sum(result.fit_seconds for result in results),
        predict_seconds=sum(result.predict_seconds for result in results),
        search_seconds=sum(record.seconds for rows in records.values() for record in rows),
    )


def _parts(
    members: Sequence[tuple[str, int, float]], predicted: Mapping[tuple[str, int], Probabilities]
) -> tuple[Probabilities, NDArray[np.float64]]:
    """Give what a weighted mean is made of: the members' probabilities of the test rows, and their weights."""
    return np.stack([predicted[arm, n] for arm, n, _ in members]), np.array([weight for *_, weight in members])


def _temperature(run: Run) -> float:
    return float(run.state.get("temperature", 1.0))


def _row(record: TrialRecord) -> TrialRow:
    result = record.result
    return TrialRow(
        arm=record.arm,
        number=record.number,
        status=result.status,
        reason=result.reason,
        seconds=record.seconds,
        valid_accuracy=result.accuracy,
        valid_log_loss=result.log_loss,
        parameters={**record.parameters, **record.fidelity},
        history=dict(result.history),
        ended=record.ended,
        rung=record.rung,
    )
