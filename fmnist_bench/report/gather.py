"""Collects what a run found, the test predictions with it, and writes the report."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import write_text
from fmnist_bench.data.dataset import Dataset
from fmnist_bench.ensemble.choose import combination_of, members_of
from fmnist_bench.ensemble.usable import given_up, records_left
from fmnist_bench.report.augmentations import compare
from fmnist_bench.report.commands import how_to_go_on, how_to_open
from fmnist_bench.report.contestant import Contestant, Importances, learnt_from
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.importance import importances
from fmnist_bench.report.kept_scores import kept_scores
from fmnist_bench.report.occlusion import occlusions
from fmnist_bench.report.opening import Opened, openings, winners
from fmnist_bench.report.predictions import Probabilities
from fmnist_bench.report.so_far import ensembles_so_far
from fmnist_bench.storage.results import NOT_BEGUN, PREPARATION, TrialResult
from fmnist_bench.storage.run_folder import EXPORT_FACTS, MANIFEST, Run, read_split
from fmnist_bench.storage.trial import RECORD, Trial, trial_fault
from fmnist_bench.storage.trial_folder import SAMPLES

OF_AN_EXPORT = ("file", "bytes", "original_bytes", "manifest", "difference", "rows", "dropped", "latency")  # needed
FIGURES = "figures"  # folder of the pictures and their numbers
MAX_EXAMPLES = 30  # classes of which an example is shown
NONE: Probabilities = np.empty((0, 0), dtype=np.float32)  # where there are no test rows


def write_report(
    run: Run,
    opened: Opened,
    environment: Mapping[str, str],
    left: Callable[[], float | None] = lambda: None,
) -> Findings:
    """Score the ensemble and the best trial of every study on the test rows; write the report.

    It is ``report.html``, ``report.md``, and the figures with their numbers in the folder ``figures``. The run's
    state keeps the scores of the ensemble and of the best single model.

    Parameters
    ----------
    run : Run
    opened : Opened
    environment : mapping of str to str
        What somebody needs to know to run it again.
    left : callable
        Tells how many seconds there are for occlusion maps; None without a limit.

    Returns
    -------
    Findings
    """
    from fmnist_bench.report.draw import write_figures
    from fmnist_bench.report.render import render_html, render_markdown

    findings = gather(run, opened, environment)
    if opened.models is not None:
        maps, why_not = occlusions(findings, opened.models, left)
        findings = replace(findings, occlusions=maps, no_occlusions=why_not)
    drawn = write_figures(findings, run.folder / FIGURES)
    write_text(run.folder / "report.md", render_markdown(findings))
    write_text(run.folder / "report.html", render_html(findings, drawn))
    if opened.test is not None:
        measured = {who.name: findings.scores(who) for who in findings.everyone if who.scored}
        test_scores = {name: _part(row, "test_") for name, row in measured.items()}
        run.save_state(scores=kept_scores(findings, opened.test.fingerprint), test_scores=test_scores)
    return findings


def _part(row: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Give those numbers of a row of the leaderboard whose names begin so."""
    return {name: float(value) for name, value in row.items() if name.startswith(prefix)}


def report_files(run: Run) -> list[Path]:
    """Give what `write_report` writes: two files and a folder."""
    return [run.folder / name for name in ("report.html", "report.md", FIGURES)]


def gather(run: Run, opened: Opened, environment: Mapping[str, str]) -> Findings:
    """Collect what the store knows of a run, and the test predictions of its best models, where there are any."""
    records = {study: records_left(run, study) for study in run.state["studies"]}
    whole = {study: _whole(run, rows) for study, rows in records.items()}
    members, test, predicted = members_of(run), opened.test, opened.predicted
    students = tuple(run.state.get("students", ()))
    contestants = [_contestant(run, records[study], winner, predicted) for study, winner in winners(run).items()]
    contestants.sort(key=lambda who: -float((who.valid_probabilities.argmax(axis=1) == run.y_valid()).mean()))
    findings = Findings(
        title=run.state["benchmark"],
        class_names=_class_names(run) if test is None else test.class_names,
        y_valid=run.y_valid(),
        y_test=None if test is None else test.y,
        contestants=tuple(contestants),
        ensemble=_ensemble(run, members, records, predicted) if members else None,
        members=tuple(members),
        trials=(*(record for rows in records.values() for record in rows), *_not_begun(run)),
        environment={**_data(run, test), **environment},
        temperature=combination_of(run).temperature if members else 1.0,
        uncalibrated=_uncalibrated(run, _of_members(members, predicted)) if members and predicted else None,
        X=_validation_pixels(run) if test is None else test.X,
        image_shape=tuple(run.state.get("image_shape", ())) if test is None else test.image_shape,
        importances=_importances(run, records),
        samples=_samples(run),
        max_latency=_limit(run),
        parts=(parts := {study: tuple(parts) for study, parts in run.state.get("parts", {}).items()}),
        augmented=tuple(compare(run, whole, parts)),
        given_up=tuple((*key, reason) for key, reason in sorted(given_up(run).items())),
        so_far=tuple(ensembles_so_far(run, {s: rows for s, rows in whole.items() if s not in students})),
        exported=_exported(run),
        students=students,
        distillation=dict(run.state.get("distillation", {})) if students else {},
        ranges={study: {k: tuple(v) for k, v in found.items()} for study, found in run.state.get("ranges", {}).items()},
        openings=openings(run),
        examples=_examples(run),
    )
    return replace(findings, how_to_open=how_to_open(run, findings), how_to_go_on=how_to_go_on(run))


def _whole(run: Run, records: Sequence[Trial]) -> list[Trial]:
    """Leave out complete trials with damaged files: only those that may be members have been checked before."""
    y = run.y_valid()
    return [r for r in records if not trial_fault(run.trial_folder(r.study, r.number), r, y)]


def _validation_pixels(run: Run) -> NDArray[np.uint8] | None:
    """Pixels of the validation rows, where the cache still has them."""
    with contextlib.suppress(InputError, KeyError):
        return run.cached_dataset().X[read_split(run.folder, "validation")]
    return None


def _examples(run: Run) -> dict[int, NDArray[np.uint8]]:
    """Give the first train row of each class, where the cache still has them."""
    with contextlib.suppress(InputError, KeyError):
        data, train = run.cached_dataset(), read_split(run.folder, "train")
        classes, first = np.unique(data.y[train], return_index=True)
        shown = list(zip(classes.tolist(), train[first].tolist(), strict=True))[:MAX_EXAMPLES]
        return {code: np.array(data.X[row]).reshape(data.image_shape) for code, row in shown}
    return {}


def _class_names(run: Run) -> tuple[str, ...]:
    """Names of the classes; a run of an earlier version has not kept them."""
    return tuple(run.state.get("class_names") or map(str, range(int(run.y_valid().max()) + 1)))


def _data(run: Run, test: Dataset | None) -> dict[str, str]:
    """Say what was learned from and scored on, and when."""
    began, limit = datetime.fromtimestamp(run.state["created"], UTC), _limit(run)
    n_test = "no" if test is None else f"{len(test.y):,}"
    shape = run.state.get("image_shape", ()) if test is None else test.image_shape
    n_train = len(read_split(run.folder, "train"))
    rows = f"{n_train:,} train, {len(run.y_valid()):,} validation and {n_test} test rows, {' x '.join(map(str, shape))}"
    notes = dict.fromkeys((*run.state.get("notes", ()), *(() if test is None else test.notes)))
    return {
        "data": f"{run.state['data']}, {rows}, fingerprint of the train rows {run.state['fingerprint'][:16]}",
        **({"how they were read": "; ".join(notes)} if notes else {}),
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


def _samples(run: Run) -> dict[str, bytes]:
    """Read the last images that each study's augmentation drew while it learnt."""
    drawn = {study: sorted(run.trial_folder(study, PREPARATION).glob(SAMPLES)) for study in run.state["studies"]}
    return {study: paths[-1].read_bytes() for study, paths in drawn.items() if paths}


def _importances(run: Run, records: Mapping[str, Sequence[Trial]]) -> dict[str, Importances]:
    """Ask which parameters mattered, on that rung of each study that has most complete trials: rungs do not compare."""
    scores: dict[str, dict[int, float]] = {}
    for study, rows in records.items():
        complete = [record for record in rows if record.is_complete]
        rungs = Counter(record.rung for record in complete)
        most = max(rungs, key=lambda rung: (rungs[rung], rung), default=None)
        scores[study] = {
            record.number: float(record.result.accuracy or 0) for record in complete if record.rung == most
        }
    found = importances(run, scores)
    return {study: Importances(len(scores[study]), *rest) for study, rest in found.items()}


def _exported(run: Run) -> dict[str, Any]:
    """What is known of the ensemble's export, if it is of the ensemble that is saved."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        facts = json.loads((run.folder / EXPORT_FACTS).read_text(encoding="utf-8"))
        whole = all(name in facts for name in OF_AN_EXPORT)
        if whole and facts["manifest"] == digest_of_file(run.ensemble_folder / MANIFEST):
            return dict(facts)
    return {}


def _contestant(
    run: Run,
    records: Sequence[Trial],
    winner: Trial,
    predicted: Mapping[tuple[str, int], Probabilities],
) -> Contestant:
    return Contestant(
        name=winner.study,
        trial=winner.number,
        parameters=winner.settings,
        n_trials=dict(Counter(record.status for record in records)),
        valid_probabilities=run.valid_probabilities(winner.study, winner.number),
        test_probabilities=predicted.get((winner.study, winner.number), NONE),
        fit_seconds=winner.result.fit_seconds,
        predict_seconds=winner.result.predict_seconds,
        search_seconds=sum(record.seconds for record in records),
        learnt_from=learnt_from(winner),
    )


def _ensemble(
    run: Run,
    members: Sequence[tuple[str, int, float]],
    records: Mapping[str, Sequence[Trial]],
    predicted: Mapping[tuple[str, int], Probabilities],
) -> Contestant:
    combination = combination_of(run)
    results = [_result(run, records, study, number) for study, number, _ in members]
    return Contestant(
        name="ensemble",
        trial=None,
        parameters={f"{study} {number}": round(weight, 3) for study, number, weight in members},
        n_trials={},
        valid_probabilities=combination.apply(np.stack([run.valid_probabilities(study, n) for study, n, _ in members])),
        test_probabilities=combination.apply(_of_members(members, predicted)) if predicted else NONE,
        fit_seconds=sum(result.fit_seconds for result in results),
        predict_seconds=sum(result.predict_seconds for result in results),
        search_seconds=sum(record.seconds for rows in records.values() for record in rows),
    )


def _result(run: Run, records: Mapping[str, Sequence[Trial]], study: str, number: int) -> TrialResult:
    found = next((r.result for r in records.get(study, ()) if r.number == number), None)
    if found is None:
        raise InputError(f"{run.trial_folder(study, number) / RECORD}: is missing or damaged")
    return found


def _of_members(
    members: Sequence[tuple[str, int, float]], predicted: Mapping[tuple[str, int], Probabilities]
) -> Probabilities:
    """Give the members' probabilities of the test rows, of shape (n_members, n_test, n_classes)."""
    return np.stack([predicted[study, n] for study, n, _ in members])


def _uncalibrated(run: Run, probabilities: Probabilities) -> NDArray[np.float64]:
    return replace(combination_of(run), temperature=1.0).apply(probabilities)


def _not_begun(run: Run) -> list[Trial]:
    """Studies that had no trial, each as a row with its reason."""
    reasons = run.state.get("not_begun", {})
    return [Trial(study, 0, result=TrialResult(NOT_BEGUN, str(why))) for study, why in reasons.items()]
