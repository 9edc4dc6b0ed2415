"""The figures of a report: SVG that follows the page's light or dark colours, PNG for the store.

Every function takes plain data and returns a matplotlib `Figure` that no global state knows of. The
figure's label becomes the title that a screen reader speaks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

# Okabe and Ito (2008), the colours that keep apart for every common kind of colour vision; yellow is
# left out because it vanishes on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES: dict[str, Any] = {"": "-", "+": (0, (4, 1.5))}
INK, GREY, GRID = "#24292f", "#9aa2ab", "#dfe3e8"
WIDTH = 7.2  # inches
MAX_POINTS = 20_000  # of one figure: it travels inside a page that has to stay small
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.4g}")


class Curve(NamedTuple):
    """A trial's score by step; `status` as in the store, `best` for the trial to stress."""

    steps: Sequence[float]
    scores: Sequence[float]
    status: str = "complete"
    best: bool = False


def to_svg(fig: Figure) -> str:
    """Draw a figure as one `<svg>` element for a page.

    Text stays text, ids carry the figure's label so that several figures can share a page, and ink,
    grid and grey are CSS variables (`--ink`, `--grid`, `--grey`) with the light colours as default.
    """
    label = str(fig.get_label()) or "figure"
    prefix = re.sub(r"\W+", "-", label.lower()) + "-"
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        fig.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r'(?<= d=")[^"]+', lambda match: re.sub(r"(\.\d)\d+", r"\1", match[0]), svg)
    for colour, name in ((INK, "ink"), (GRID, "grid"), (GREY, "grey")):
        svg = svg.replace(f": {colour}", f": var(--{name}, {colour})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def to_png(fig: Figure) -> bytes:
    """Draw a figure as PNG on white, 144 dots an inch."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=144, facecolor="white")
    return out.getvalue()


def arm_colours(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give each arm a colour and line style: one colour a study, dashed for its variant (`cnn+gan`)."""
    studies = list(dict.fromkeys(arm.partition("+")[0] for arm in arms))
    colour = {study: PALETTE[number % len(PALETTE)] for number, study in enumerate(studies)}
    return {
        arm: {"color": colour[study], "linestyle": STYLES[plus]}
        for arm, (study, plus, _) in ((arm, arm.partition("+")) for arm in arms)
    }


def accuracy_intervals(rows: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Draw test accuracies with their intervals.

    Parameters
    ----------
    rows : mapping of str to (accuracy, low, high)
        From top to bottom; shares between 0 and 1.
    """
    fig = _figure("Test accuracy with 95 % interval", 0.8 + 0.27 * len(rows))
    ax = _axes(fig, xlabel="test accuracy, % (line: 95 % interval)")
    for place, (accuracy, low, high) in enumerate(rows.values()):
        ax.plot([low, high], [place, place], color=PALETTE[0], lw=2, solid_capstyle="round")
        ax.plot(accuracy, place, "o", color=PALETTE[0], ms=6)
    ax.set_yticks(range(len(rows)), [_plain(name) for name in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(_PERCENT)
    ax.grid(axis="y", visible=False)
    return fig


def anytime(arms: Mapping[str, Sequence[tuple[float, float]]], end: float) -> Figure:
    """Draw each arm's best valid accuracy so far against the wall clock.

    Parameters
    ----------
    arms : mapping of str to sequence of (seconds, accuracy)
        The complete trials of each arm by the time at which they ended.
    end : float
        Seconds at which the run ended; every line reaches it.
    """
    fig = _figure("Best valid accuracy so far, by arm", 3.6)
    ax = _axes(fig, xlabel=f"search time, {_unit(end)[1]}", ylabel="best valid accuracy, %")
    finals = []
    for arm, style in arm_colours(list(arms)).items():
        points = np.array(sorted(arms[arm]), dtype=float).reshape(-1, 2)
        if not len(points):
            continue
        best = np.maximum.accumulate(points[:, 1])
        finals.append(best[-1])
        seconds = np.append(points[:, 0], max(end, points[-1, 0])) / _unit(end)[0]
        ax.plot(seconds, np.append(best, best[-1]), drawstyle="steps-post", label=_plain(arm), lw=1.8, **style)
        ax.plot(seconds[0], best[0], "o", ms=4, color=style["color"])
    if finals:
        # Curves may enter from below: the early, poor trials must not flatten the range that matters.
        span = max(max(finals) - min(finals), 0.01)
        ax.set_ylim(max(0.0, min(finals) - 0.6 * span), min(1.0, max(finals) + 0.15 * span) + 0.002)
        fig.legend(loc="outside right upper", frameon=False, labelcolor=INK)
    ax.set_xlim(left=0)
    ax.yaxis.set_major_formatter(_PERCENT)
    return fig


def learning_curves(arms: Mapping[str, Sequence[Curve]]) -> Figure:
    """Draw the valid accuracy of every trial by step, one panel an arm: best in colour, pruned in grey."""
    columns = 2 if len(arms) > 1 else 1
    n_rows = max(1, -(-len(arms) // columns))
    fig = _figure("Learning curves by arm", 0.4 + 2.2 * n_rows)
    share = max(10, MAX_POINTS // max(1, sum(map(len, arms.values()))))
    first: Axes | None = None
    for place, (arm, curves) in enumerate(arms.items()):
        ax = _axes(fig, (n_rows, columns, place + 1), xlabel="step (epoch or boosting round)", sharey=first)
        first = first or ax
        ax.set_title(_plain(arm), loc="left", fontsize=10, color=INK)
        for curve in sorted(curves, key=lambda curve: (curve.best, curve.status != "pruned")):
            _draw_curve(ax, curve, share)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if place % columns == 0:
            ax.set_ylabel("valid accuracy, %", color=INK)
    if first is not None:
        scores = np.concatenate([np.asarray(curve.scores, float) for curves in arms.values() for curve in curves])
        # A trial that learned nothing must not flatten the range in which the others differ.
        top = np.nanmax(scores)
        low = max(np.nanquantile(scores, 0.1), top - 0.5)
        first.set_ylim(max(0.0, low - 0.1 * (top - low) - 0.002), top + 0.06 * (top - low) + 0.002)
        first.yaxis.set_major_formatter(_PERCENT)
        looks = {
            "best": _look(Curve((), (), best=True)),
            "complete": _look(Curve((), ())),
            "pruned or stopped": {"color": GREY},
        }
        handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
        fig.legend(handles=handles, loc="outside upper right", frameon=False, labelcolor=INK, ncols=3, fontsize=9)
    return fig


def _draw_curve(ax: Axes, curve: Curve, share: int) -> None:
    n = min(len(curve.steps), len(curve.scores))
    keep = np.unique(np.linspace(0, n - 1, min(n, share)).round().astype(int))
    steps, scores = np.asarray(curve.steps, float)[keep], np.asarray(curve.scores, float)[keep]
    ax.plot(steps, scores, marker="o" if n == 1 else None, ms=3, **_look(curve))


def _look(curve: Curve) -> dict[str, Any]:
    if curve.best:
        return {"color": PALETTE[1], "lw": 2.2}
    return {"color": PALETTE[0], "lw": 1.1, "alpha": 0.75} if curve.status == "complete" else {"color": GREY, "lw": 1}


def minutes(arms: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw where the search time went: a bar an arm, split by how its trials ended.

    Parameters
    ----------
    arms : mapping of str to mapping of str to float
        For each arm, seconds by kind of trial; kinds keep the order in which they appear.
    """
    factor, unit = _unit(max((sum(kinds.values()) for kinds in arms.values()), default=0.0))
    fig = _figure("Where the search time went", 1.1 + 0.27 * len(arms))
    ax = _axes(fig, xlabel=f"search time, {unit}")
    kinds = list(dict.fromkeys(kind for arm in arms.values() for kind in arm))
    colours = {"complete": PALETTE[0], "pruned": GREY, "failed or stopped": PALETTE[1]}
    left = np.zeros(len(arms))
    for number, kind in enumerate(kinds):
        width = np.array([arm.get(kind, 0.0) for arm in arms.values()]) / factor
        colour = colours.get(kind, PALETTE[(number + 2) % len(PALETTE)])
        ax.barh(range(len(arms)), width, left=left, height=0.62, color=colour, label=_plain(kind))
        left += width
    ax.set_yticks(range(len(arms)), [_plain(arm) for arm in arms])
    ax.set_ylim(max(len(arms), 1) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    if kinds:
        fig.legend(loc="outside upper right", frameon=False, labelcolor=INK, ncols=len(kinds))
    return fig


def confusion(matrix: NDArray[np.int64], class_names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix (rows: true class) with its counts, shaded by the share of the row."""
    side = min(1.4 + 0.5 * len(class_names), 12.0)
    fig = _figure(title, side, width=side + 0.6)
    ax = _axes(fig, xlabel="predicted class", ylabel="true class")
    ax.set_title(_plain(title), loc="left", fontsize=11, color=INK)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("blues", ["#ffffff", PALETTE[0]])
    ax.pcolormesh(np.sqrt(share), cmap=shades, vmin=0, vmax=1, edgecolors=GRID, linewidth=0.5)
    for (row, column), count in np.ndenumerate(matrix):
        if count and len(class_names) <= 30:
            colour = "white" if share[row, column] > 0.3 else "black"
            ax.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", fontsize=8, color=colour)
    places = np.arange(len(class_names)) + 0.5
    names = [_plain(name) for name in class_names]
    ax.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.grid(visible=False)
    return fig


def _figure(label: str, height: float, width: float = WIDTH) -> Figure:
    fig = Figure(figsize=(width, height), layout="constrained")
    fig.set_label(label)
    return fig


def _axes(
    fig: Figure, place: tuple[int, int, int] = (1, 1, 1), xlabel: str = "", ylabel: str = "", **options: Any
) -> Axes:
    ax: Axes = fig.add_subplot(*place, **options)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    ax.grid(color=GRID, lw=0.8)
    ax.set_axisbelow(True)
    ax.set_xlabel(xlabel, color=INK)
    ax.set_ylabel(ylabel, color=INK)
    return ax


def _unit(seconds: float) -> tuple[float, str]:
    return (60.0, "minutes") if seconds >= 180 else (1.0, "seconds")


def _plain(text: str) -> str:
    # A dollar sign would start mathematics, and a leading underscore would drop a label from the legend.
    text = text.replace("$", r"\$")
    return "\u200b" + text if text.startswith("_") else text
