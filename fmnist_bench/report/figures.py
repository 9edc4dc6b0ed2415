"""The figures of what the models are worth: plain data in, a matplotlib `Figure` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from fmnist_bench.report.canvas import GREY, GRID, INK, PALETTE, PERCENT, ROW, axes, figure, legend, name_rows, plain
from fmnist_bench.report.metrics import ConfidenceBin

MAX_NAMED = 30  # classes whose counts can be read in a matrix
MARKERS = "os^DvPX"
BIN = 0.1  # width of a bin of confidence


class Score(NamedTuple):
    """A model's accuracy with its 95 % interval, shares between 0 and 1, and milliseconds to predict a row."""

    accuracy: float
    low: float
    high: float
    cost: float


class Gain(NamedTuple):
    """A difference of two accuracies with its 95 % interval, shares between -1 and 1."""

    difference: float
    low: float
    high: float


class Picture(NamedTuple):
    """An image, uint8 of shape `(height, width)` or `(height, width, 3)`, and the line that stands below it.

    `falls` are laid over it, of shape (patches down, patches across): orange above 0, blue below.
    """

    pixels: NDArray[np.uint8]
    text: str
    falls: NDArray[np.float64] | None = None


def accuracy_intervals(scores: Mapping[str, Score], rows: str = "test") -> Figure:
    """Draw accuracies on test or validation `rows` with their intervals, from top to bottom."""
    intervals = {name: (score.low, score.accuracy, score.high) for name, score in scores.items()}
    fig = _intervals(
        f"{rows.title()} accuracy with 95 % interval", f"{rows} accuracy, % (line: 95 % interval)", intervals
    )
    fig.axes[0].xaxis.set_major_formatter(PERCENT)
    return fig


def forest(gains: Mapping[str, Gain]) -> Figure:
    """Draw paired differences with their intervals, from top to bottom, beside the line of no difference."""
    intervals = {name: (gain.low, gain.difference, gain.high) for name, gain in gains.items()}
    xlabel = "gain in validation accuracy, points (line: 95 % interval)"
    fig = _intervals("Gain in validation accuracy by augmentation", xlabel, intervals)
    fig.axes[0].axvline(0, color=GREY, lw=1.2, zorder=1)
    signed = FuncFormatter(lambda value, _: f"{100 * value:+.3g}".replace("-", "−") if value else "0")
    fig.axes[0].xaxis.set_major_formatter(signed)
    return fig


def _intervals(label: str, xlabel: str, intervals: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Draw (low, middle, high) of each row."""
    fig = figure(label, 0.8 + ROW * len(intervals))
    ax = axes(fig, xlabel=xlabel)
    for place, (low, middle, high) in enumerate(intervals.values()):
        ax.plot([low, high], [place, place], color=PALETTE[0], lw=2, solid_capstyle="round")
        ax.plot(middle, place, "o", color=PALETTE[0], ms=6)
    name_rows(ax, list(intervals))
    return fig


def accuracy_against_cost(scores: Mapping[str, Score], limit: float | None = None, rows: str = "test") -> Figure:
    """Draw accuracy against the cost of a prediction; those that no other model beats in both are named.

    A dashed line is the `limit`, in milliseconds, that the ensemble was chosen under.
    """
    fig = figure(f"{rows.title()} accuracy against the cost of a prediction", 2.9)
    ax = axes(fig, xlabel="time to predict one row, ms", ylabel=f"{rows} accuracy, %")
    best = front(scores)
    for name in (name for name in scores if name not in best):
        _draw_score(ax, scores[name], color=GREY, marker="o", ms=4)
    _draw_front(ax, {name: scores[name] for name in best})
    if limit:
        ax.axvline(limit, color=GREY, lw=1.2, ls="--", label=f"limit of the ensemble, {limit:g} ms")
    _write_costs(ax)
    ax.yaxis.set_major_formatter(PERCENT)
    legend(fig)
    return fig


def _draw_front(ax: Axes, scores: Mapping[str, Score]) -> None:
    """Draw the models of the front, each with a look of its own, and the line that joins them."""
    steps = np.array([(score.cost, score.accuracy) for score in scores.values()])
    ax.plot(*steps.T, drawstyle="steps-post", color=GREY, lw=1.2)
    looks = zip(cycle(PALETTE), cycle(MARKERS))  # of other lengths: a pair of both comes back late
    for (name, score), (colour, marker) in zip(scores.items(), looks, strict=False):
        _draw_score(ax, score, color=colour, marker=marker, ms=7, label=plain(name))


def _draw_score(ax: Axes, score: Score, color: str, **look: Any) -> None:
    ax.plot([score.cost] * 2, [score.low, score.high], color=color, lw=1.5)
    ax.plot(score.cost, score.accuracy, color=color, ls="", **look)


def _write_costs(ax: Axes) -> None:
    """Make the axis of costs logarithmic, in plain numbers; a short axis shows some between the powers of ten."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    digits = "" if high > 30 * low else "25" if high > 4 * low else "123456789"
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in digits else ""))


def front(scores: Mapping[str, Score]) -> list[str]:
    """Name the models that none beats in accuracy and cost both (Pareto's front), the cheapest first."""
    found: list[str] = []
    for name in sorted(scores, key=lambda name: (scores[name].cost, -scores[name].accuracy)):
        if not found or scores[name].accuracy > scores[found[-1]].accuracy:
            found.append(name)
    return found


def reliability(models: Mapping[str, Sequence[ConfidenceBin]], rows: str = "test") -> Figure:
    """Draw accuracy against confidence, each bin with its 95 % interval, over the number of `rows` in each bin.

    Where a model is as often right as it is sure, its points lie on the diagonal (DeGroot and Fienberg, 1983).
    """
    fig = figure("Accuracy against confidence", 3.6)
    above = axes(fig, (4, 1, (1, 3)), ylabel=f"{rows} accuracy, %")
    below = axes(fig, (4, 1, 4), xlabel="confidence, %", ylabel="rows", sharex=above)
    above.plot([0, 1], [0, 1], color=GREY, lw=1.2, ls="--", label="as sure as right")
    for place, (name, bins) in enumerate(models.items()):
        colour, table = PALETTE[place], np.array(bins)
        above.vlines(table[:, 2], table[:, 4], table[:, 5], color=colour, lw=1.5)
        above.plot(table[:, 2], table[:, 3], color=colour, marker=MARKERS[place], ms=5, lw=1.2, label=plain(name))
        width = BIN / (len(models) + 1)
        below.bar(table[:, 0] + width * (place + 1), table[:, 1], width, color=colour)
    below.set_yscale("log")
    below.set_ylim(bottom=0.7)
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    below.minorticks_off()
    above.tick_params(labelbottom=False)
    above.set(xlim=(0, 1), ylim=(-0.03, 1.03))
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PERCENT)
    legend(fig)
    return fig


def confusion(
    matrix: NDArray[np.int64], class_names: Sequence[str], title: str, *, clear: NDArray[np.bool_] | None = None
) -> Figure:
    """Draw a confusion matrix (rows: true class) with its counts, shaded by the share of the row.

    With `clear` it is the difference of two: where that is true, what got better is blue, what got worse orange.
    """
    signed = clear is not None
    side = min(1.4 + 0.5 * len(class_names), 12.0)
    fig = figure(title, side, width=side + 0.6)
    ax = axes(fig, xlabel="predicted class", ylabel="true class")
    ax.set_title(plain(title), loc="left", fontsize=11, color=INK)
    shade, colours = _shades(matrix, clear)
    ax.pcolormesh(shade, cmap=colours, vmin=-1 if signed else 0, vmax=1, edgecolors=GRID, linewidth=0.5)
    for (row, column), count in np.ndenumerate(matrix):
        if count and len(class_names) <= MAX_NAMED:
            colour = "white" if abs(shade[row, column]) > 0.55 else "black"
            number = f"{count:+d}".replace("-", "−") if signed else str(count)
            text = ax.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=8, color=colour)
            text.set_in_layout(False)  # it lies within the axes, and to measure it takes long
    places = np.arange(len(class_names)) + 0.5
    names = [plain(name) for name in class_names]
    ax.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.grid(visible=False)
    return fig


def _shades(
    matrix: NDArray[np.int64], clear: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], LinearSegmentedColormap]:
    if clear is None:
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        return np.sqrt(share), LinearSegmentedColormap.from_list("blues", ["#ffffff", PALETTE[0]])
    gain = np.where(np.eye(len(matrix), dtype=bool), matrix, -matrix)
    colours = LinearSegmentedColormap.from_list("gains", [PALETTE[1], "#ffffff", PALETTE[0]])
    return gain * clear / max(1, np.abs(gain).max(initial=0)), colours


def pictures(items: Sequence[Picture], title: str) -> Figure:
    """Draw images side by side, six a row, each over its line of text."""
    fig = figure(title, height := 0.4 + 1.85 * max(1, -(-len(items) // 6)), 9.0)
    # On one pair of axes, in inches from the upper left: a pair for each picture takes ten times as long.
    fig.set_layout_engine(None)
    ax = fig.add_axes((0, 0, 1, 1), frame_on=False, xticks=[], yticks=[])
    ax.text(0.09, 0.2, plain(title), va="center", fontsize=11, color=INK)
    for place, item in enumerate(items):
        left, top = 0.07 + 1.48 * (place % 6), 0.4 + 1.85 * (place // 6)
        half_width, half_height = (0.7 * side / max(item.pixels.shape[:2]) for side in item.pixels.shape[1::-1])
        extent = (left + 0.7 - half_width, left + 0.7 + half_width, top + 0.7 + half_height, top + 0.7 - half_height)
        ax.imshow(item.pixels, cmap="gray", vmin=0, vmax=255, extent=extent)
        if item.falls is not None:
            ax.imshow(_overlay(item.falls), extent=extent, interpolation="nearest")
        ax.text(left + 0.7, top + 1.45, plain(item.text), ha="center", va="top", fontsize=7.5, color=INK)
    ax.set(xlim=(0, 9.0), ylim=(height, 0))
    return fig


def _overlay(falls: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the colours to lay over a picture: the more hiding a patch changes, the more opaque."""
    strength = falls / max(np.abs(falls).max(initial=0), 1e-9)
    colours = np.where(falls[..., None] > 0, to_rgb(PALETTE[1]), to_rgb(PALETTE[0]))
    return np.dstack([colours, 0.75 * np.abs(strength)])
