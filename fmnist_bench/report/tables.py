"""The tables of a report, made once for the page and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.report.contestant import Contestant
from fmnist_bench.report.findings import KINDS, Findings
from fmnist_bench.report.metrics import McNemarResult
from fmnist_bench.storage.results import ROW_STATUSES
from fmnist_bench.storage.trial import Trial

MAX_MATRIX = 30  # classes; above it the most frequent confusions say more than a matrix
MAX_ROWS = 500  # trials listed on the page


class Cell(NamedTuple):
    """What a cell shows, what it sorts by, and how strongly it is shaded: -1 (bad) to 1 (good)."""

    text: str
    key: float | str = ""
    shade: float = 0.0


class Table(NamedTuple):
    """Column titles and rows of cells; the first `n_text` columns hold text and the rest numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    n_text: int = 1
    sortable: bool = True


def text(value: object) -> Cell:
    """Make a cell of text; empty text becomes a dash."""
    return Cell(str(value), str(value).lower()) if str(value) else Cell("–", "")


def number(value: float | None, digits: int = 2, factor: float = 1.0, sign: str = "") -> Cell:
    """Make a cell of a number; one that is missing becomes a dash and sorts last."""
    if value is None or not math.isfinite(value):
        return Cell("–", "")
    rounded = round(value * factor, digits) or 0.0
    return Cell(f"{rounded:{sign if rounded else ''},.{digits}f}".replace("-", "−"), float(value))


def percent(value: float | None, digits: int = 2, sign: str = "") -> Cell:
    """Make a cell of a share, in percent without the sign, which stands in the heading."""
    return number(value, digits, 100.0, sign)


def seconds(value: float | None) -> Cell:
    """Make a cell of seconds, with the digits that matter at that size."""
    return number(value, 0 if value and value >= 100 else 1 if value and value >= 10 else 2)


def duration(value: float) -> str:
    """Write seconds as a person would: `0.042 s`, `8.3 s`, `12 min 5 s`, `3 h 20 min`."""
    if not math.isfinite(value):
        return "–"
    if value < 59.95:
        return f"{value:.1f} s" if value >= 1 else f"{value:.2g} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def p_value(value: float) -> str:
    """Write a p-value: three digits, or `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def assignments(parameters: dict[str, Any]) -> str:
    """Write parameters as `name=value, ...`, floats with four digits."""
    return ", ".join(f"{name}={f'{v:.4g}' if isinstance(v, float) else v}" for name, v in parameters.items())


def short_names(parameters: dict[str, Any]) -> dict[str, Any]:
    """Leave the names of the steps out, `model__svc__C` becomes `C`, where the names still differ."""
    short = {name.rpartition("__")[2]: value for name, value in parameters.items()}
    return short if len(short) == len(parameters) else parameters


def leaderboard(findings: Findings) -> Table:
    """Tabulate the ensemble and the studies."""
    parts = {"test": "Test", "valid": "Validation"} if findings.opened else {"valid": "Validation"}
    heads = [head for word in parts.values() for head in (f"{word} accuracy, %", "95 % interval")]
    costs = "Learnt from, % of rows", "Fit, s", "Predict a row, ms", "Search, s", "Trials"
    columns, first = ("Model", *heads, "Log loss", "Calibration error, %", *costs), next(iter(parts))
    rows = []
    for who in findings.everyone:
        row = findings.scores(who)
        cells = [text(who.name)]
        for part in parts:
            cells += [percent(row.get(f"{part}_accuracy")), interval(row.get(f"{part}_low"), row.get(f"{part}_high"))]
        cells += [number(row.get(f"{first}_log_loss"), 4), percent(row.get(f"{first}_calibration_error"))]
        cells += [learnt_from(who), seconds(who.fit_seconds), number(row["predict_ms"], 3)]
        cells += [seconds(who.search_seconds), _statuses(who)]
        rows.append(cells)
    scored = "test and validation" if findings.opened else "validation"
    return Table(f"Scores on {scored} rows, and cost; the studies by their validation accuracy", columns, rows)


def interval(low: float | None, high: float | None, sign: str = "") -> Cell:
    """Make a cell of an interval of shares, in percent."""
    ends = [percent(end, sign=sign) for end in (low, high)]
    return Cell(f"{ends[0].text} to {ends[1].text}", ends[0].key) if low is not None else Cell("–")


def learnt_from(who: Contestant) -> Cell:
    """Share of the train rows; those of an ensemble's members differ."""
    return percent(None if who.trial is None else who.learnt_from, 0)


def _statuses(who: Contestant) -> Cell:
    counts = {status: who.n_trials[status] for status in ROW_STATUSES if who.n_trials.get(status)}
    words = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
    if set(counts) == {"complete"}:  # most are, and one number is easier to read
        words = str(counts["complete"])
    return Cell(words or "–", sum(counts.values()))


def members(findings: Findings) -> Table:
    """Tabulate what the ensemble is made of, heaviest first."""
    ordered = sorted(findings.members, key=lambda member: -member[2])
    rows = [[text(study), number(trial, 0), number(weight, 3)] for study, trial, weight in ordered]
    return Table("Members of the ensemble", ("Study", "Trial", "Weight"), rows)


def pairs(findings: Findings, ensemble: Contestant) -> Table:
    """Tabulate the ensemble against every single model on the same test rows."""
    columns = ("Single model", "Only ensemble right", "Only it right", "Difference, points", "95 % interval", "p")
    rows = []
    for who in (who for who in findings.contestants if who.scored):
        found = findings.compare(ensemble, who)
        counts = [number(found.only_first_correct, 0), number(found.only_second_correct, 0)]
        rows.append([text(who.name), *counts, *difference(found)])
    return Table("The ensemble against each single model", columns, rows)


def augmented(findings: Findings) -> Table:
    """Tabulate each study against the same one with an augmentation less: trials of the search, on validation rows."""
    columns = ("Study", "Against", "Zero is", "Without, %", "With, %", "Difference, points", "95 % interval", "p")
    rows = []
    for without, with_it, found in findings.augmented:
        verdict = "inside the interval" if found.low <= 0 <= found.high else "outside the interval"
        names = [text(with_it.study), text(without.study), text(verdict)]
        accuracies = [percent(trial.result.accuracy) for trial in (without, with_it)]
        times = [seconds(trial.seconds) for trial in (without, with_it)]
        rows.append([*names, *accuracies, *difference(found), *times])
    return Table("Gain of each augmentation", (*columns, "Without, s", "With, s"), rows, n_text=3)


def difference(found: McNemarResult) -> list[Cell]:
    """Make the cells of a difference in points, its interval, and its p-value."""
    p = Cell(p_value(found.p_value), found.p_value)
    return [percent(found.difference, sign="+"), interval(found.low, found.high, "+"), p]


def generators(findings: Findings) -> Table:
    """Tabulate what augmentations learnt before the trials of their studies."""
    rows = []
    for trial in findings.preparations:
        steps, fidelity = (trial.history.get(key, [None])[-1] for key in ("step", "fidelity"))
        status = [text(trial.study), text(trial.status.replace("_", " "))]
        rows.append([*status, seconds(trial.seconds), number(steps, 0), percent(fidelity, 1)])
    columns = ("Study", "Status", "Training, s", "Steps", "Images of the class asked for, %")
    return Table("What the generators learnt", columns, rows, n_text=2)


def matrices(findings: Findings) -> list[Table]:
    """Tabulate the confusion of the best single model, the ensemble, and their difference."""
    named = {"Best single model": findings.best_single, "Ensemble": findings.ensemble}
    found = {
        (role if who.name == role.lower() else f"{role}: {who.name}"): findings.confusion(who)
        for role, who in named.items()
        if who and who.scored
    }
    if len(findings.class_names) > MAX_MATRIX:
        return [_confusions(findings, title, matrix) for title, matrix in found.items()]
    tables = [_matrix(findings, title, matrix) for title, matrix in found.items()]
    single, ensemble = named.values()
    if len(found) == 2 and single and ensemble:
        title = "Difference: ensemble minus best single model"
        tables.append(_matrix(findings, title, *findings.confusion_change(single, ensemble), sign="+"))
    return tables


def _matrix(
    findings: Findings, title: str, matrix: NDArray[np.int64], shaded: NDArray[np.bool_] | bool = True, sign: str = ""
) -> Table:
    good = np.where(np.eye(len(matrix), dtype=bool), 1, -1)
    signed = matrix * good
    # Errors are few beside hits: each kind has a scale of its own, or only the diagonal would show.
    top = np.where(good > 0, np.abs(np.diag(matrix)).max(), np.abs(matrix * (good < 0)).max())
    shades = signed / np.maximum(top, 1) * shaded
    rows = []
    for name, counts, strengths in zip(findings.class_names, matrix, shades, strict=True):
        texts = [number(n, 0, sign=sign).text if n else "·" for n in counts]
        rows.append([text(name), *map(Cell, texts, counts.tolist(), strengths.tolist())])
    return Table(title, ("True class", *findings.class_names), rows, sortable=False)


def _confusions(findings: Findings, title: str, matrix: NDArray[np.int64]) -> Table:
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_MATRIX]
    places = [divmod(int(flat), len(matrix)) for flat in order if wrong.flat[flat]]
    names = findings.class_names
    rows = [[text(names[true]), text(names[pred]), number(int(wrong[true, pred]), 0)] for true, pred in places]
    return Table(f"{title}: most frequent confusions", ("True class", "Predicted", _counted(findings)), rows, n_text=2)


def _counted(findings: Findings) -> str:
    return f"{findings.measured} rows".capitalize()


def per_class(findings: Findings) -> Table:
    """Tabulate precision and recall by class for the best single model and the ensemble."""
    contestants = [who for who in (findings.best_single, findings.ensemble) if who and who.scored]
    scores = [findings.per_class(who) for who in contestants]
    heads = [f"{score}, {who.name}, %" for who in contestants for score in ("Precision", "Recall")]
    rows = []
    for place, name in enumerate(findings.class_names):
        cells = [percent(value[place], 1) for score in scores for value in (score.precision, score.recall)]
        change = [percent(scores[1].recall[place] - scores[0].recall[place], 1, "+")] if len(scores) == 2 else []
        rows.append([text(name), number(int(scores[0].support[place]), 0), *cells, *change] if scores else [])
    change_head = ["Change of recall, points"] if len(scores) == 2 else []
    return Table(
        "Precision and recall by class", ("Class", _counted(findings), *heads, *change_head), rows if scores else []
    )


def mistakes(findings: Findings, who: Contestant) -> Table:
    """Tabulate the wrong rows of which a contestant was surest."""
    names, rows = findings.class_names, []
    for one in findings.mistakes(who):
        shares = [percent(one.confidence, 1), percent(one.given_to_true, 1)]
        rows.append([text(one.row), text(names[one.predicted]), text(names[one.true]), *shares])
    columns = (_counted(findings)[:-1], "Predicted", "Label", "Confidence, %", "Probability of the label, %")
    return Table(f"Most confident mistakes of {who.name}", columns, rows, n_text=3)


def importances(findings: Findings) -> Table:
    """Tabulate which parameters mattered in each study, most important first."""
    rows = []
    for study, found in findings.importances.items():
        shares = [(name.rpartition("__")[2], f"{100 * share:.0f}") for name, share in found.shares.items()]
        words = ", ".join(f"{name}\u00a0{share}\u00a0%" for name, share in shares if share != "0")
        rows += [[text(study), text(words), number(found.n_trials, 0)]] if words else []
    return Table(
        "Importance of parameters", ("Study", "Share of the variance explained", "Trials counted"), rows, n_text=2
    )


def minutes(findings: Findings) -> Table:
    """Tabulate where the search time went."""
    by_study = findings.seconds_by_kind()
    kinds = [kind for kind in KINDS if any(spent[kind] for spent in by_study.values())]
    searched = [who for who in findings.everyone if who is not findings.ensemble]
    total = sum(who.search_seconds for who in searched) or math.nan
    rows = [
        [text(who.name), seconds(who.search_seconds), percent(who.search_seconds / total, 0)]
        + [seconds(by_study[who.name][kind]) for kind in kinds]
        for who in searched
    ]
    columns = ("Study", "Trials, s", "Share, %", *(f"In {kind} trials, s" for kind in kinds))
    return Table("Time of the trials of each study, added up: several run at a time", columns, rows)


def phases(findings: Findings) -> Table:
    """Tabulate how much of the processors' time each phase took, and how much of it the ensemble's members."""
    found = findings.cpu_by_phase()
    total = sum(cpu for _, cpu, _ in found.values()) or math.nan
    rows = [
        [text(phase), number(n, 0), seconds(cpu), percent(cpu / total, 0), percent(members / total, 0)]
        for phase, (n, cpu, members) in found.items()
    ]
    if len(rows) > 1:
        n, in_members = sum(n for n, *_ in found.values()), sum(members for *_, members in found.values())
        rows.append([text("all"), number(n, 0), seconds(total), percent(1.0, 0), percent(in_members / total, 0)])
    columns = ("Phase", "Trials", "Processor, s", "Share, %", "In members of the ensemble, %")
    return Table("Processor time of the trainings by phase", columns, rows, sortable=False)


def failures(findings: Findings) -> Table:
    """Tabulate the trials that failed or were stopped, with their reasons."""
    rows = [[*_trial(trial)[:3], text(trial.reason), seconds(trial.seconds)] for trial in findings.failed[:MAX_ROWS]]
    return Table("Reasons, trial by trial", ("Study", "Trial", "Status", "Reason", "Seconds"), rows, n_text=4)


def trials(findings: Findings) -> Table:
    """Tabulate every trial, up to `MAX_ROWS`, the best first."""
    ordered: Sequence[Trial] = sorted(findings.trials, key=lambda trial: -(trial.result.accuracy or 0.0))
    columns = (
        *("Study", "Trial", "Status", "Parameters", "Validation accuracy, %"),
        *("Validation log loss", "Seconds", "Ended at, s"),
    )
    return Table("Every trial", columns, [_trial(trial) for trial in ordered[:MAX_ROWS]], n_text=4)


def _trial(trial: Trial) -> list[Cell]:
    head = [text(trial.study), Cell(str(trial.number), trial.number), text(trial.status.replace("_", " "))]
    scores = [percent(trial.result.accuracy), number(trial.result.log_loss, 4)]
    return [
        *head,
        text(assignments(short_names(trial.settings))),
        *scores,
        seconds(trial.seconds),
        seconds(trial.ended),
    ]


def exported(findings: Findings) -> Table:
    """Tabulate how fast the exported ensemble is, beside the original."""
    columns = ("Cores", "Rows at a time", "File, ms a row", "Original, ms a row")
    rows = [
        [number(row["cores"], 0), number(row["rows"], 0), number(row["onnx"], 3), number(row["original"], 3)]
        for row in findings.exported.get("latency", ())
    ]
    return Table("Latency of the export, median of several calls", columns, rows, n_text=0, sortable=False)


def environment(findings: Findings) -> Table:
    """Tabulate the machine and everything that is needed to run it again."""
    rows = [[text(name), text(value)] for name, value in findings.environment.items()]
    return Table("Machine, versions and call", ("What", "Value"), rows, n_text=2, sortable=False)
