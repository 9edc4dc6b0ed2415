"""Findings of a benchmark as a leaderboard, as Markdown, and as one HTML page that needs no network.

`findings` counts, `tables` and `figures` show; the two templates beside this module say in which
order and between which words.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from fmnist_bench.reporting import tables
from fmnist_bench.reporting.findings import Contestant, Findings, TrialRow
from fmnist_bench.trial import STATUSES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from fmnist_bench.reporting.figures import Curve

__all__ = [
    "Contestant",
    "Findings",
    "TrialRow",
    "draw",
    "leaderboard",
    "render_html",
    "render_markdown",
    "terminal_leaderboard",
]


def leaderboard(findings: Findings) -> pd.DataFrame:
    """Give one row for the ensemble and one for each arm, NaN where an arm has no complete trial.

    Parameters
    ----------
    findings : Findings
        What was found.

    Returns
    -------
    pandas.DataFrame
        Indexed by name: `trial`, `valid_accuracy`, `test_accuracy`, `test_low`, `test_high` (95 %
        interval), `test_log_loss`, `test_calibration_error`, one column of counts for each status
        that occurs, `fit_seconds`, `predict_seconds`, `search_seconds`, `parameters`.
    """
    import pandas as pd

    rows = [findings.scores(who) for who in findings.everyone]
    seen = [status for status in STATUSES if any(row[status] for row in rows)]
    scores = ["valid_accuracy", "test_accuracy", "test_low", "test_high", "test_log_loss", "test_calibration_error"]
    costs = ["fit_seconds", "predict_seconds", "search_seconds", "parameters"]
    table = pd.DataFrame(rows, columns=["name", "trial", *scores, *seen, *costs]).set_index("name")
    return table.astype({"trial": "Int64", **dict.fromkeys(scores, "float64")})


def render_markdown(findings: Findings) -> str:
    """Write the report as GitHub-flavoured Markdown: the answer and the tables, no figures."""
    report = _jinja("md").get_template("report.md.j2").render(_context(findings))
    return re.sub(r"\n{3,}", "\n\n", report).strip() + "\n"


def render_html(findings: Findings) -> str:
    """Write the report as one HTML page with its figures inside; it opens from disk, light or dark."""
    from fmnist_bench.reporting.figures import to_svg

    svgs = {name: to_svg(figure) for name, figure in draw(findings, matrices=False).items()}
    return _jinja("html").get_template("report.html.j2").render(_context(findings), figures=svgs)


def draw(findings: Findings, *, matrices: bool = True) -> dict[str, Figure]:
    """Draw every figure that the findings have data for.

    Parameters
    ----------
    findings : Findings
        What was found.
    matrices : bool
        Whether to draw the confusion matrices, which the page has as tables.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Of `accuracy_intervals`, `anytime`, `learning_curves`, `minutes`, `confusion_best_single` and
        `confusion_ensemble` those that can be drawn.
    """
    from fmnist_bench.reporting import figures

    drawn: dict[str, Figure] = {}
    if scores := [findings.scores(who) for who in findings.everyone if who.scored]:
        intervals = {row["name"]: (row["test_accuracy"], row["test_low"], row["test_high"]) for row in scores}
        drawn["accuracy_intervals"] = figures.accuracy_intervals(intervals)
    if points := _points(findings):
        drawn["anytime"] = figures.anytime(points, max(trial.ended for trial in findings.trials))
    if curves := _curves(findings):
        drawn["learning_curves"] = figures.learning_curves(curves)
    if findings.trials:
        drawn["minutes"] = figures.minutes(findings.seconds_by_kind())
    return drawn | (_matrices(findings) if matrices else {})


def _points(findings: Findings) -> dict[str, list[tuple[float, float]]]:
    points: dict[str, list[tuple[float, float]]] = {arm: [] for arm in findings.arms}
    for trial in findings.trials:
        if trial.status == "complete" and trial.valid_accuracy is not None:
            points[trial.arm].append((trial.ended, trial.valid_accuracy))
    return points if any(points.values()) else {}


def _curves(findings: Findings) -> dict[str, list[Curve]]:
    from fmnist_bench.reporting.figures import Curve

    best = {(who.name, who.trial) for who in findings.contestants}
    curves: dict[str, list[Curve]] = {}
    for trial in findings.trials:
        if scores := trial.history.get("valid_accuracy"):
            steps = trial.history.get("step") or range(1, len(scores) + 1)
            curve = Curve(steps, scores, trial.status, (trial.arm, trial.number) in best)
            curves.setdefault(trial.arm, []).append(curve)
    return curves


def _matrices(findings: Findings) -> dict[str, Figure]:
    from fmnist_bench.reporting.figures import confusion

    contestants = {"confusion_best_single": findings.best_single, "confusion_ensemble": findings.ensemble}
    return {
        key: confusion(findings.confusion(who), findings.class_names, f"Confusion matrix: {who.name}")
        for key, who in contestants.items()
        if who and who.scored
    }


def _context(findings: Findings) -> dict[str, Any]:
    pair, choice = findings.pair, findings.choice
    counts = Counter(trial.status for trial in findings.trials)
    searched = [who for who in findings.everyone if who is not findings.ensemble]
    return {
        "f": findings,
        "choice": findings.scores(choice) if choice else None,
        "single": findings.scores(pair[0]) if pair else None,
        "test": findings.compare(pair[1], pair[0]) if pair else None,
        "ensemble_error": None if pair is None else findings.scores(pair[1])["test_calibration_error"],
        "changes": findings.recall_changes(),
        "statuses": {status.replace("_", " "): counts[status] for status in STATUSES if counts[status]},
        "search_seconds": sum(who.search_seconds for who in searched),
        "leaderboard": tables.leaderboard(findings),
        "members": tables.members(findings),
        "pairs": tables.pairs(findings, pair[1]) if pair else None,
        "matrices": tables.matrices(findings),
        "per_class": tables.per_class(findings),
        "minutes": tables.minutes(findings),
        "failures": tables.failures(findings),
        "trials": tables.trials(findings),
        "environment": tables.environment(findings),
    }


def _jinja(kind: str) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(
        loader=loader, autoescape=kind == "html", undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters |= {"duration": tables.duration, "p": tables.p_value, "md": _md, "code": _code, "block": _block}
    env.filters |= {"pct": lambda value, digits=2, sign="": tables.percent(value, digits, sign).text}
    env.filters |= {"assignments": tables.assignments}
    return env


def _md(value: object) -> str:
    """Make text harmless within a line or table cell of Markdown."""
    return re.sub(r"([\\`*<>|\[\]~])|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(str(value).split()))


def _code(value: object) -> str:
    """Set text as a code span, whatever backticks it has."""
    line = " ".join(str(value).split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def _block(value: object) -> str:
    """Set text as an indented block of code, line by line."""
    return "\n".join(f"    {line}" for line in str(value).splitlines())


def terminal_leaderboard(findings: Findings) -> str:
    """Write the leaderboard as plain text, narrow enough for 80 columns, best valid accuracy first."""
    rows: list[tuple[str, ...]] = [("", "valid %", "test %", "95 % interval", "log loss", "trials", "fit s")]
    for who in findings.everyone:
        score = findings.scores(who)
        shown = [
            tables.percent(score.get(key)).text for key in ("valid_accuracy", "test_accuracy", "test_low", "test_high")
        ]
        most = max(who.n_trials, key=lambda status: who.n_trials[status], default="–").replace("_", " ")
        interval = f"{shown[2]} to {shown[3]}" if who.scored else most
        n_trials = sum(who.n_trials.values()) or len(findings.trials)
        loss = tables.number(score.get("test_log_loss"), 3).text
        rows.append((who.name, *shown[:2], interval, loss, str(n_trials), tables.seconds(who.fit_seconds).text))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    names = [row[0].ljust(widths[0]) for row in rows]
    return "\n".join("  ".join([name, *line[1:]]) for name, line in zip(names, lines, strict=True))
