"""The figures of what the models are worth: plain data in, a matplotlib `Figure` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from fmnist_bench.report.canvas import GREY, GRID, INK, PALETTE, PERCENT, WIDE, axes, figure, name_rows, plain

MAX_NAMED = 30  # classes whose counts can be read in a matrix


class Score(NamedTuple):
    """A model's test accuracy with its 95 % interval, shares between 0 and 1, and milliseconds to predict a row."""

    accuracy: float
    low: float
    high: float
    cost: float


class Gain(NamedTuple):
    """A difference of two test accuracies with its 95 % interval, shares between -1 and 1."""

    difference: float
    low: float
    high: float


class Picture(NamedTuple):
    """An image, uint8 of shape `(height, width)` or `(height, width, 3)`, and the line that stands below it."""

    pixels: NDArray[np.uint8]
    text: str


def accuracy_intervals(scores: Mapping[str, Score], width: float = WIDE) -> Figure:
    """Draw test accuracies with their intervals, from top to bottom."""
    height = 0.27 if width == WIDE else 0.36
    fig = figure("Test accuracy with 95 % interval", 0.8 + height * len(scores), width)
    ax = axes(fig, xlabel="test accuracy, % (line: 95 % interval)")
    for place, score in enumerate(scores.values()):
        ax.plot([score.low, score.high], [place, place], color=PALETTE[0], lw=2, solid_capstyle="round")
        ax.plot(score.accuracy, place, "o", color=PALETTE[0], ms=6)
    name_rows(ax, list(scores))
    ax.xaxis.set_major_formatter(PERCENT)
    return fig


def forest(gains: Mapping[str, Gain], width: float = WIDE) -> Figure:
    """Draw paired differences with their intervals, from top to bottom, beside the line of no difference."""
    height = 0.27 if width == WIDE else 0.36
    fig = figure("Gain in test accuracy by augmentation", 0.8 + height * len(gains), width)
    ax = axes(fig, xlabel="gain in test accuracy, points (line: 95 % interval)")
    ax.axvline(0, color=GREY, lw=1.2)
    for place, gain in enumerate(gains.values()):
        ax.plot([gain.low, gain.high], [place, place], color=PALETTE[0], lw=2, solid_capstyle="round")
        ax.plot(gain.difference, place, "o", color=PALETTE[0], ms=6)
    name_rows(ax, list(gains))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.3g}".replace("-", "−")))
    return fig


def accuracy_against_cost(scores: Mapping[str, Score], width: float = WIDE, limit: float | None = None) -> Figure:
    """Draw test accuracy against the cost of a prediction; those that no other model beats in both are named.

    A dashed line is the `limit`, in milliseconds, that the ensemble was chosen under.
    """
    fig = figure("Test accuracy against the cost of a prediction", 3.6, width)
    xlabel = "time to predict one row, ms" + (f"\ndashed: limit of the ensemble, {limit:g} ms" if limit else "")
    ax = axes(fig, xlabel=xlabel, ylabel="test accuracy, %")
    if limit:
        ax.axvline(limit, color=GREY, lw=1.2, ls="--")
    for score in scores.values():
        ax.plot([score.cost] * 2, [score.low, score.high], color=GREY, lw=1.2)
        ax.plot(score.cost, score.accuracy, "o", color=GREY, ms=5)
    best = front(scores)
    steps = np.array([(scores[name].cost, scores[name].accuracy) for name in best])
    ax.plot(*steps.T, drawstyle="steps-post", color=PALETTE[0])
    for score in map(scores.__getitem__, best):
        ax.plot([score.cost] * 2, [score.low, score.high], color=PALETTE[0], lw=2)
        ax.plot(score.cost, score.accuracy, "o", color=PALETTE[0], ms=6)
    ax.set_xscale("log")
    ax.margins(x=0.12, y=0.1)
    _name_points(ax, {name: scores[name] for name in best})
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(
        FuncFormatter(partial(_between_powers, few=bool(np.divide(*ax.get_xlim()[::-1]) < 30)))
    )
    ax.yaxis.set_major_formatter(PERCENT)
    return fig


def _between_powers(value: float, _: int, few: bool) -> str:
    """Write the twos and fives between the powers of ten of an axis that shows but a few of those."""
    return f"{value:g}" if few and f"{value:e}"[0] in "25" else ""


def front(scores: Mapping[str, Score]) -> list[str]:
    """Name the models that none beats in accuracy and cost both (Pareto's front), the cheapest first."""
    found: list[str] = []
    for name in sorted(scores, key=lambda name: (scores[name].cost, -scores[name].accuracy)):
        if not found or scores[name].accuracy > scores[found[-1]].accuracy:
            found.append(name)
    return found


def _name_points(ax: Axes, scores: Mapping[str, Score]) -> None:
    """Write each name to the upper left of its point, where nothing can be: it would beat this one in both."""
    low, high = ax.get_xlim()
    longest = max(len(plain(name)) for name in scores)
    ax.set_xlim(low / (high / low) ** (0.012 * longest), high)  # room for the name of the cheapest
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "bottom", "fontsize": 9, "color": INK}
    names = [ax.annotate(plain(name), (s.cost, s.accuracy), xytext=(-6, 4), **style) for name, s in scores.items()]
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]  # places the axes
    for i, name in enumerate(names):  # from the lowest point to the highest
        while any(name.get_window_extent().overlaps(other.get_window_extent()) for other in names[:i]):
            name.xyann = (-6, name.xyann[1] + 1)


def confusion(matrix: NDArray[np.int64], class_names: Sequence[str], title: str, *, signed: bool = False) -> Figure:
    """Draw a confusion matrix (rows: true class) with its counts, shaded by the share of the row.

    With `signed` it is the difference of two: what got better is blue, what got worse orange.
    """
    side = min(1.4 + 0.5 * len(class_names), 12.0)
    fig = figure(title, side, width=side + 0.6)
    ax = axes(fig, xlabel="predicted class", ylabel="true class")
    ax.set_title(plain(title), loc="left", fontsize=11, color=INK)
    shade, colours = _shades(matrix, signed)
    ax.pcolormesh(shade, cmap=colours, vmin=-1 if signed else 0, vmax=1, edgecolors=GRID, linewidth=0.5)
    for (row, column), count in np.ndenumerate(matrix):
        if count and len(class_names) <= MAX_NAMED:
            colour = "white" if abs(shade[row, column]) > 0.55 else "black"
            number = f"{count:+d}".replace("-", "−") if signed else str(count)
            ax.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=8, color=colour)
    places = np.arange(len(class_names)) + 0.5
    names = [plain(name) for name in class_names]
    ax.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.grid(visible=False)
    return fig


def _shades(matrix: NDArray[np.int64], signed: bool) -> tuple[NDArray[np.float64], LinearSegmentedColormap]:
    if not signed:
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        return np.sqrt(share), LinearSegmentedColormap.from_list("blues", ["#ffffff", PALETTE[0]])
    gain = np.where(np.eye(len(matrix), dtype=bool), matrix, -matrix)
    colours = LinearSegmentedColormap.from_list("gains", [PALETTE[1], "#ffffff", PALETTE[0]])
    return gain / max(1, np.abs(gain).max(initial=0)), colours


def pictures(items: Sequence[Picture], title: str) -> Figure:
    """Draw images side by side, six a row, each over its line of text."""
    n_rows = max(1, -(-len(items) // 6))
    fig = figure(title, 0.4 + 1.85 * n_rows, 9.0)
    fig.suptitle(plain(title), x=0.01, ha="left", fontsize=11, color=INK)
    for place, item in enumerate(items):
        ax = fig.add_subplot(n_rows, 6, place + 1)
        ax.imshow(item.pixels, cmap="gray", vmin=0, vmax=255)
        text = ax.text(0.5, -0.04, plain(item.text), transform=ax.transAxes, fontsize=7.5, color=INK)
        text.set(ha="center", va="top")
        ax.axis("off")
    return fig
