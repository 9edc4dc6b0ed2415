"""Findings of a benchmark as Markdown, as lines for the terminal, and as one HTML page that needs no network.

`findings` counts, `tables` and `draw` show; the two templates beside this module say in which order and between which
words. Figures are matplotlib's SVG and not Vega-Altair's or Plotly's: a page with all of them is smaller than either
library's script alone, needs no script to show them, and takes its colours from the page.
"""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from fmnist_bench.report import tables
from fmnist_bench.report.contestant import Array
from fmnist_bench.report.distillation import distilled
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.markdown import block, code, md
from fmnist_bench.report.next_steps import next_steps
from fmnist_bench.report.numbers import SLICES
from fmnist_bench.storage.results import NOT_BEGUN, ROW_STATUSES

SHARES = "accuracy", "low", "high"
SPARED = (
    "log loss",
    "trials",
    "fit s",
    "rows %",
    "95 % interval",
    "valid %",
)  # columns of a narrow leaderboard, the first to go first
LEAST_RATIO = 1.5  # of two times, to be worth a word
LEAST_FALL, LEAST_SHARE = 0.0005, 0.1  # of a probability, and of the greatest fall, for a patch to be coloured
THUMBNAIL = 64  # pixels; larger pictures are scaled down to it


def render_markdown(findings: Findings) -> str:
    """Write the report as GitHub-flavoured Markdown: the answer and the tables, no figures."""
    report = templates("md").get_template("report.md.j2").render(_context(findings))
    return re.sub(r"\n{3,}", "\n\n", report).strip() + "\n"


def render_html(findings: Findings, written: Mapping[str, str] | None = None) -> str:
    """Write the report as one HTML page with its figures inside; it opens from disk, light or dark.

    Parameters
    ----------
    findings : Findings
    written : mapping of str to str, or None
        The figures as SVG, by name, that `write_figures` has written beside the page; None leaves them out.
    """
    from fmnist_bench.report.canvas import themed

    figures = {name: themed(svg) for name, svg in (written or {}).items()}
    sliced = [study for study in findings.studies if f"{SLICES}{study}" in figures]
    page = templates("html").get_template("report.html.j2")
    return page.render(_context(findings), figures=figures, sliced=sliced)


def _mistakes(findings: Findings) -> dict[str, list[dict[str, Any]]]:
    """Give the most confident mistakes of the ensemble and of the best single model, each with its picture."""
    names = findings.class_names
    falls = {(who, one.row): found for who, maps in findings.occlusions.items() for one, found in maps}
    return {
        who.name: [
            {
                "src": _png(pixels),
                "label": names[one.true],
                "predicted": names[one.predicted],
                "confidence": one.confidence,
                "row": one.row,
                "patches": _patches(falls.get((who.name, one.row))),
            }
            for one in findings.mistakes(who)
            if (pixels := findings.image(one.row)) is not None
        ]
        for who in findings.explained
    }


def _patches(falls: Array | None) -> dict[str, Any] | None:
    """Give how to draw an occlusion map: its sides, the patches that matter, and the greatest fall."""
    if falls is None:
        return None
    most, (down, across) = np.abs(falls).max(), falls.shape
    shown = [
        {"x": x, "y": y, "colour": "bad" if fall > 0 else "good", "strength": abs(fall) / most}
        for (y, x), fall in np.ndenumerate(falls)
        if abs(fall) > max(LEAST_FALL, LEAST_SHARE * most)
    ]
    return {"width": across, "height": down, "shown": shown, "most": float(falls.max())}


def _png(pixels: Any) -> str:
    from PIL import Image

    image, out = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(out, format="png", optimize=True)
    return _address(out.getvalue())


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _context(findings: Findings) -> dict[str, Any]:
    pair, choice = findings.pair if findings.opened else None, findings.choice
    counts = Counter(trial.status for trial in findings.trials)
    searched = [who for who in findings.everyone if who is not findings.ensemble]
    return {
        "f": findings,
        "choice": findings.scores(choice) if choice else None,
        "shares": {key: findings.scores(choice)[f"{findings.part}_{key}"] for key in SHARES} if choice else None,
        "single": findings.scores(pair[0]) if pair else None,
        "test": findings.compare(pair[1], pair[0]) if pair else None,
        "ensemble_error": None if pair is None else findings.scores(pair[1])["test_calibration_error"],
        "faster": _faster(findings),
        "opened": "once" if findings.openings == 1 else f"{findings.openings} times",
        "statuses": {status.replace("_", " "): counts[status] for status in ROW_STATUSES if counts[status]},
        "search_seconds": sum(who.search_seconds for who in searched),
        "leaderboard": tables.leaderboard(findings),
        "commands": {k: v for k, v in {**findings.how_to_open, **findings.how_to_go_on}.items() if k != "Report"},
        "next_steps": next_steps(findings),
        "members": tables.members(findings),
        "pairs": tables.pairs(findings, pair[1]) if pair else None,
        "distilled": distilled(findings),
        "augmented": tables.augmented(findings),
        "generators": tables.generators(findings),
        "samples": {study: _address(png) for study, png in findings.samples.items()},
        "matrices": tables.matrices(findings),
        "per_class": tables.per_class(findings),
        "mistakes": [tables.mistakes(findings, who) for who in findings.explained],
        "pictures": _mistakes(findings),
        "examples": {findings.class_names[code]: _png(pixels) for code, pixels in findings.examples.items()},
        "importances": tables.importances(findings),
        "phases": tables.phases(findings),
        "minutes": tables.minutes(findings),
        "failures": tables.failures(findings),
        "trials": tables.trials(findings),
        "exported": tables.exported(findings),
        "environment": tables.environment(findings),
    }


def _faster(findings: Findings) -> str:
    """Say how many times as fast the best single model is as the ensemble, where they cannot be told apart."""
    if findings.choice is not findings.ensemble or not (pair := findings.pair) or not findings.opened:
        return ""
    single, ensemble = (findings.scores(who)["predict_ms"] for who in pair)
    alike = findings.compare(*pair).p_value >= 0.05
    return f"{ensemble / single:.2g}" if alike and 0 < LEAST_RATIO * single < ensemble else ""


def templates(kind: str) -> jinja2.Environment:
    """Give the templates of this folder, for pages in "html" or in "md"."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(
        loader=loader, autoescape=kind == "html", undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters |= {"duration": tables.duration, "p": tables.p_value, "md": md, "code": code, "block": block}
    env.filters |= {"pct": lambda value, digits=2, sign="": tables.percent(value, digits, sign).text}
    env.filters |= {"assignments": tables.assignments}
    plural = {"study": "studies"}
    env.filters |= {"counted": lambda n, noun: f"{n:,} {noun if n == 1 else plural.get(noun, f'{noun}s')}"}
    return env


def terminal_leaderboard(findings: Findings, width: int = 80) -> str:
    """Write the leaderboard as plain text, best validation accuracy first; columns go where `width` has no room."""
    part, heads = findings.part, ("valid %", "test %") if findings.opened else ("valid %",)
    rows: list[dict[str, str]] = []
    for who in findings.everyone:
        score = findings.scores(who)
        ends = [tables.percent(score.get(f"{part}_{end}")).text for end in ("low", "high")]
        most = max(who.n_trials, key=lambda status: who.n_trials[status], default="–").replace("_", " ")
        counts = who.n_trials or Counter(trial.status for trial in findings.trials)  # all of them are the ensemble's
        row = {"": who.name}
        row |= {head: tables.percent(score.get(f"{head[:-2]}_accuracy")).text for head in heads}
        row |= {"95 % interval": " to ".join(ends) if who.scored else most, "rows %": tables.learnt_from(who).text}
        row |= {"log loss": tables.number(score.get(f"{part}_log_loss"), 3).text}
        row |= {"trials": str(sum(count for status, count in counts.items() if status != NOT_BEGUN))}
        rows.append(row | {"fit s": tables.seconds(who.fit_seconds).text})
    return as_columns(rows, SPARED, width)


def as_columns(rows: list[dict[str, str]], spared: Sequence[str] = (), width: int = 0) -> str:
    """Set rows below each other, their first column to the left; while they are too wide, leave `spared` ones out."""
    titles, n_spared = list(rows[0]) if rows else [], 0
    while True:
        shown = [title for title in titles if title not in spared[:n_spared]]
        widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in shown}
        if n_spared == len(spared) or sum(widths.values()) + 2 * len(widths) - 2 <= width:
            break
        n_spared += 1
    first, *others = shown or [""]
    lines = [{title: title for title in shown}, *rows] if shown else []
    return "\n".join(
        "  ".join([row[first].ljust(widths[first]), *(row[title].rjust(widths[title]) for title in others)])
        for row in lines
    )
