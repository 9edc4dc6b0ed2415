"""The numbers that each figure shows, as rows for a CSV file; shares lie between 0 and 1, times are seconds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from fmnist_bench.report import metrics, parameter_slices
from fmnist_bench.report.contestant import Contestant
from fmnist_bench.report.findings import Findings
from fmnist_bench.storage.results import NOT_BEGUN

Row = dict[str, Any]
SLICES = "slices_"  # begins the name of the figure of a study's parameters


def to_csv(findings: Findings, figure: str) -> str:
    """Write the numbers of a figure, by its name, as CSV with a line of names."""
    rows = list(_slices(findings, figure[len(SLICES) :]) if figure.startswith(SLICES) else ROWS[figure](findings))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _scores(findings: Findings) -> Iterator[Row]:
    for who in findings.everyone:
        if who.scored:
            row = findings.scores(who)
            shares = {key: row[f"{findings.part}_{key}"] for key in ("accuracy", "low", "high")}
            yield {"model": who.name, "rows": findings.measured, **shares, "milliseconds_a_row": row["predict_ms"]}


def _reliability(findings: Findings) -> Iterator[Row]:
    for who in findings.rivals:
        for counted in metrics.reliability(findings.probabilities(who), findings.y):
            yield {"model": who.name, "counted": findings.measured, **counted._asdict()}


def _augmentation(findings: Findings) -> Iterator[Row]:
    for without, with_it, found in findings.augmented:
        pair = {"study": with_it.study, "against": without.study}
        yield pair | {"difference": found.difference, "low": found.low, "high": found.high}


def _trials(findings: Findings) -> Iterator[Row]:
    for trial in findings.trials:
        about = {"study": trial.study, "trial": trial.number, "status": trial.status, "reason": trial.reason}
        scores = {"valid_accuracy": trial.result.accuracy, "valid_log_loss": trial.result.log_loss}
        yield about | scores | {"seconds": trial.seconds, "ended": trial.ended} | trial.settings


def _fidelity(findings: Findings) -> Iterator[Row]:
    for trial in findings.preparations:
        for step, share in zip(trial.history.get("step", ()), trial.history.get("fidelity", ()), strict=False):
            yield {"study": trial.study, "step": step, "fidelity": share}


def _anytime(findings: Findings) -> Iterator[Row]:
    for trial in sorted(findings.trials, key=lambda trial: trial.ended):
        if trial.accuracy is not None:
            yield {"study": trial.study, "trial": trial.number, "seconds": trial.ended, "accuracy": trial.accuracy}
    for seconds, accuracy in findings.so_far:
        yield {"study": "ensemble", "trial": None, "seconds": seconds, "accuracy": accuracy}


def _curves(findings: Findings) -> Iterator[Row]:
    for trial in findings.trials:
        names = [name for name, values in trial.history.items() if values and name != "step"]
        values = [trial.history[name] for name in names]
        steps = trial.history.get("step") or range(1, 1 + max(map(len, values), default=0))
        for step, *found in zip_longest(steps, *values):
            known = {"study": trial.study, "trial": trial.number, "rung": trial.rung, "status": trial.status}
            yield known | {"step": step} | dict(zip(names, found, strict=True))


def _timeline(findings: Findings) -> Iterator[Row]:
    for trial in findings.trials:
        if trial.status != NOT_BEGUN:
            begun = max(trial.ended - trial.seconds, 0.0)
            yield {
                **{"study": trial.study, "trial": trial.number, "phase": trial.phase},
                **{"begun": begun, "ended": trial.ended, "status": trial.status},
            }


def _slices(findings: Findings, study: str) -> Iterator[Row]:
    for one in parameter_slices.of_study(findings, study):
        for value, score, rung in zip(one.values, one.scores, one.rungs, strict=True):
            yield {"parameter": one.name, "value": value, "accuracy": score, "rung": rung, "importance": one.share}


def _confusion(findings: Findings, *whose: Contestant | None) -> Iterator[Row]:
    """Count rows by true and predicted class, of one contestant or of the second less the first."""
    counts = [findings.confusion(who) for who in whose if who is not None]
    total = counts[-1] - (counts[0] if len(counts) > 1 else 0)
    for (true, predicted), count in np.ndenumerate(total):
        names = findings.class_names
        yield {"true": names[true], "predicted": names[predicted], "rows": int(count)}


def _mistakes(findings: Findings) -> Iterator[Row]:
    names = findings.class_names
    for who in findings.explained:
        for one in findings.mistakes(who):
            classes = {"label": names[one.true], "predicted": names[one.predicted]}
            shares = {"confidence": one.confidence, "probability_of_label": one.given_to_true}
            yield {"model": who.name, "row": one.row, **classes, **shares}


def _occlusion(findings: Findings) -> Iterator[Row]:
    names = findings.class_names
    for who, maps in findings.occlusions.items():
        for one, falls in maps:
            for (down, across), fall in np.ndenumerate(falls):
                place = {"patch_down": down, "patch_across": across, "fall": float(fall)}
                classes = {"label": names[one.true], "predicted": names[one.predicted]}
                yield {"model": who, "row": one.row, **classes, "confidence": one.confidence, **place}


ROWS: dict[str, Callable[[Findings], Iterator[Row]]] = {
    "accuracy_intervals": _scores,
    "accuracy_against_cost": _scores,
    "reliability": _reliability,
    "augmentation": _augmentation,
    "fidelity": _fidelity,
    "anytime": _anytime,
    "learning_curves": _curves,
    "loss": _curves,
    "timeline": _timeline,
    "trials": _trials,
    "confusion_best_single": lambda findings: _confusion(findings, findings.best_single),
    "confusion_ensemble": lambda findings: _confusion(findings, findings.ensemble),
    "confusion_difference": lambda findings: _confusion(findings, findings.best_single, findings.ensemble),
    "mistakes": _mistakes,
    "occlusion": _occlusion,
}
