"""The figures of how a search went: plain data in, a matplotlib `Figure` out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from fmnist_bench.report.canvas import (
    GREY,
    INK,
    MAX_POINTS,
    PALETTE,
    PERCENT,
    WIDE,
    Parts,
    axes,
    figure,
    name_rows,
    plain,
    study_styles,
    unit_of,
)

LABEL_GAP = 0.058  # of the height of the axes, from one name to the next
MEASURES = {"accuracy": "accuracy, %", "loss": "loss"}
ROWS: dict[str, Any] = {"fit": (0, (4, 1.5)), "valid": "-"}
KINDS = {"complete": PALETTE[0], "prepared": PALETTE[2], "pruned": GREY, "failed or stopped": PALETTE[1]}


class Curve(NamedTuple):
    """A trial's score by step; `status` as in the store, `best` for the trial to stress."""

    steps: Sequence[float]
    scores: Sequence[float]
    status: str = "complete"
    best: bool = False


class Training(NamedTuple):
    """A trial's training, epoch by epoch: loss and accuracy of train and validation rows, as far as known."""

    history: Mapping[str, Sequence[float]]
    status: str = "complete"
    best: bool = False


class Slice(NamedTuple):
    """One parameter of a study and the validation accuracy of the complete trials that set it: lists of one length.

    `rungs` say how thorough each trial was, from 0, or below 0 for one beside the ladder; `share` is the
    parameter's importance, NaN where it is not known.
    """

    name: str
    values: Sequence[Any]
    scores: Sequence[float]
    rungs: Sequence[int]
    share: float = math.nan
    log: bool = False


def anytime(
    studies: Mapping[str, Sequence[tuple[float, float]]], end: float, width: float = WIDE, parts: Parts | None = None
) -> Figure:
    """Draw each study's best validation accuracy so far against the wall clock.

    Parameters
    ----------
    studies : mapping of str to sequence of (seconds, accuracy)
        The complete trials of each study by the time at which they ended; the best six studies get colours.
    end : float
        Seconds at which the run ended; every line reaches it.
    width : float
        Of the figure, inches.
    parts : mapping of str to sequence of str, or None
        Study and augmentations of each study; None where every study is a study.
    """
    n_named = sum(map(bool, studies.values()))
    fig = figure("Best validation accuracy so far, by study", max(3.6, 0.9 + 0.16 * n_named), width)
    ax = axes(fig, xlabel=f"search time, {unit_of(end)[1]}", ylabel="best validation accuracy, %")
    finals = {study: max(score for _, score in points) for study, points in studies.items() if points}
    ordered = sorted(finals, key=lambda study: -finals[study])
    styles = study_styles(ordered, parts)
    for study, style in reversed(styles.items()):
        points = np.array(sorted(studies[study]), dtype=float)
        best = np.maximum.accumulate(points[:, 1])
        seconds = np.append(points[:, 0], max(end, points[-1, 0])) / unit_of(end)[0]
        lw = 1.2 if style["color"] == GREY else 1.9
        ax.plot(seconds, np.append(best, best[-1]), drawstyle="steps-post", label=plain(study), lw=lw, **style)
        ax.plot(seconds[0], best[0], "o", ms=4, color=style["color"])
    if finals:
        # Curves may enter from below: the early, poor trials must not flatten the range that matters.
        low, high = min(finals.values()), max(finals.values())
        span = max(high - low, 0.01)
        ax.set_ylim(max(0.0, low - 0.5 * span), min(1.0, high + 0.1 * span) + 0.002)
        _name_lines(ax, {study: finals[study] for study in ordered}, styles)
    last = max((seconds for points in studies.values() for seconds, _ in points), default=0)
    ax.set_xlim(0, max(last, end) / unit_of(end)[0] or 1)
    ax.yaxis.set_major_formatter(PERCENT)
    return fig


def _name_lines(ax: Axes, finals: Mapping[str, float], styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Write each name beside the end of its line, the names apart; `finals` from the highest to the lowest."""
    low, high = ax.get_ylim()
    wanted = [(final - low) / (high - low) for final in finals.values()]
    for (study, place), start in zip(zip(finals, spread(wanted, LABEL_GAP), strict=True), wanted, strict=True):
        colour = styles[study]["color"]
        ax.plot([1.0, 1.04], [start, place], transform=ax.transAxes, color=colour, lw=0.9, clip_on=False)
        ax.text(1.05, place, plain(study), transform=ax.transAxes, va="center", fontsize=8.5, color=INK)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move falling places apart to at least `gap`, as little as need be, within 0 and 1 where they fit.

    Neighbours that are too close become a block about their mean place, and blocks that meet join.
    """
    blocks: list[list[float]] = []
    for place in places:
        blocks.append([place])
        while len(blocks) > 1 and _lowest(blocks[-2], gap) - _highest(blocks[-1], gap) < gap:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [_highest(block, gap) - number * gap for block in blocks for number in range(len(block))]


def _highest(block: Sequence[float], gap: float) -> float:
    extent = gap * (len(block) - 1)
    return max(min(sum(block) / len(block) + extent / 2, 1.0), extent)


def _lowest(block: Sequence[float], gap: float) -> float:
    return _highest(block, gap) - gap * (len(block) - 1)


def learning_curves(studies: Mapping[str, Sequence[Curve]], width: float = WIDE) -> Figure:
    """Draw the validation accuracy of every trial by step, one panel a study: best in colour, pruned in grey."""
    columns = 2 if len(studies) > 1 and width == WIDE else 1
    n_rows = max(1, -(-len(studies) // columns))
    fig = figure("Learning curves by study", 0.4 + 2.2 * n_rows, width)
    share = max(10, MAX_POINTS // max(1, sum(map(len, studies.values()))))
    first: Axes | None = None
    for place, (study, curves) in enumerate(studies.items()):
        ax = axes(fig, (n_rows, columns, place + 1), xlabel="step (epoch or boosting round)", sharey=first)
        first = first or ax
        ax.set_title(plain(study), loc="left", fontsize=10, color=INK)
        for curve in sorted(curves, key=lambda curve: (curve.best, curve.status != "pruned")):
            _draw_curve(ax, curve, share)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if place % columns == 0:
            ax.set_ylabel("validation accuracy, %", color=INK)
    if first is not None:
        finals = [max(max(curve.scores) for curve in curves) for curves in studies.values()]
        first.set_ylim(
            _range([s for curves in studies.values() for curve in curves for s in curve.scores], min(finals))
        )
        first.yaxis.set_major_formatter(PERCENT)
        looks = {
            "best": _look(Curve((), (), best=True)),
            "complete": _look(Curve((), ())),
            "pruned or stopped": {"color": GREY},
        }
        handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
        fig.legend(handles=handles, loc="outside upper right", frameon=False, labelcolor=INK, ncols=3, fontsize=8.5)
    return fig


def training(studies: Mapping[str, Sequence[Training]], width: float = WIDE) -> Figure:
    """Draw accuracy and loss of train and validation rows by epoch, two panels a study, of every trial."""
    columns = 2 if width == WIDE else 1
    fig = figure("Accuracy and loss while training", 0.4 + 2.2 * len(studies) * (2 // columns), width)
    share = max(10, MAX_POINTS // max(1, 4 * sum(map(len, studies.values()))))
    for place, (study, trials) in enumerate(studies.items()):
        for side, measure in enumerate(("accuracy", "loss")):
            where = (2 * len(studies) // columns, columns, 2 * place + side + 1)
            ax = axes(fig, where, xlabel="epoch or boosting round", ylabel=MEASURES[measure])
            ax.set_title(plain(study), loc="left", fontsize=10, color=INK)
            for trial in sorted(trials, key=lambda trial: (trial.best, trial.status != "pruned")):
                for rows, line in ROWS.items():
                    _draw_curve(ax, _curve(trial, f"{rows}_{measure}"), share, ls=line)
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if measure == "accuracy":
                ax.yaxis.set_major_formatter(PERCENT)
    handles = [Line2D([], [], color=INK, label=f"{rows} rows", ls=line) for rows, line in ROWS.items()]
    fig.legend(handles=handles, loc="outside upper right", frameon=False, labelcolor=INK, ncols=2, fontsize=8.5)
    return fig


def _curve(trial: Training, name: str) -> Curve:
    scores = trial.history.get(name, [])
    return Curve(trial.history.get("step") or range(1, len(scores) + 1), scores, trial.status, trial.best)


def _range(scores: Sequence[float], shown: float = 1.0) -> tuple[float, float]:
    """Give the range in which scores differ, `shown` included; a trial that learned nothing must not flatten it."""
    top = float(np.nanmax(scores))
    low = max(min(float(np.nanquantile(scores, 0.1)), shown), top - 0.5)
    return max(0.0, low - 0.1 * (top - low) - 0.002), top + 0.06 * (top - low) + 0.002


def _draw_curve(ax: Axes, curve: Curve, share: int, ls: Any = "-") -> None:
    if not (n := min(len(curve.steps), len(curve.scores))):
        return
    keep = np.unique(np.linspace(0, n - 1, min(n, share)).round().astype(int))
    steps, scores = np.asarray(curve.steps, float)[keep], np.asarray(curve.scores, float)[keep]
    ax.plot(steps, scores, marker="o" if n == 1 else None, ms=3, ls=ls, **_look(curve))


def _look(curve: Curve) -> dict[str, Any]:
    if curve.best:
        return {"color": PALETTE[1], "lw": 2.2}
    return {"color": PALETTE[0], "lw": 1.1, "alpha": 0.75} if curve.status == "complete" else {"color": GREY, "lw": 1}


def fidelity(
    studies: Mapping[str, Mapping[str, Sequence[float]]], width: float = WIDE, parts: Parts | None = None
) -> Figure:
    """Draw how the images of each study's generator became what was asked of it, by its histories of the training."""
    fig = figure("Label fidelity of the synthetic images", 2.4, width)
    ax = axes(fig, xlabel="training step", ylabel="of the right class, %")
    styles = study_styles(list(studies), parts)
    for study, history in studies.items():
        ax.plot(history["step"], history["fidelity"], label=plain(study), color=styles[study]["color"])
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PERCENT)
    if len(studies) > 1:
        ax.legend(frameon=False, labelcolor=INK, fontsize=8.5)
    return fig


def minutes(studies: Mapping[str, Mapping[str, float]], width: float = WIDE) -> Figure:
    """Draw where the search time went: a bar a study, split by how its trials ended.

    Parameters
    ----------
    studies : mapping of str to mapping of str to float
        For each study, seconds by kind of trial, of `KINDS`.
    width : float
        Of the figure, inches.
    """
    factor, unit = unit_of(max((sum(kinds.values()) for kinds in studies.values()), default=0.0))
    height = 0.27 if width == WIDE else 0.36
    fig = figure("Where the search time went", 1.1 + height * len(studies), width)
    ax = axes(fig, xlabel=f"search time, {unit}")
    left = np.zeros(len(studies))
    for kind, colour in KINDS.items():
        bars = np.array([study.get(kind, 0.0) for study in studies.values()]) / factor
        if bars.any():
            ax.barh(
                range(len(studies)), bars, left=left, height=0.62 if width == WIDE else 0.4, color=colour, label=kind
            )
        left += bars
    name_rows(ax, list(studies))
    if left.any():
        fig.legend(loc="outside upper right", frameon=False, labelcolor=INK, ncols=len(KINDS), fontsize=8.5)
    return fig


def slices(study: str, parameters: Sequence[Slice], width: float = WIDE) -> Figure:
    """Draw the validation accuracy of a study's trials against its parameters, one panel each, those of one row.

    The more thorough a trial was, the stronger the colour of its point; the best is orange.
    """
    shown = parameters[: 4 if width == WIDE else 2]
    fig = Figure(figsize=(width, 1.75))
    fig.set_label(f"Validation accuracy by parameter: {study}")
    # Placed by hand: to let matplotlib find the room takes most of the time, and every figure here is alike.
    fig.subplots_adjust(left=0.62 / width, right=1 - 0.12 / width, bottom=0.13, top=0.87, wspace=0.14)
    scores = [score for one in shown for score in one.scores]
    for place, one in enumerate(shown):
        ax = axes(fig, (1, len(shown), place + 1), ylabel="" if place else "validation accuracy, %")
        _draw_slice(ax, one, max(scores))
        ax.set_ylim(_range(scores))
        ax.yaxis.set_major_formatter(PERCENT)
        ax.yaxis.label.set_fontsize(8.5)
        ax.tick_params(labelsize=8, labelleft=place == 0)
    return fig


def _draw_slice(ax: Axes, one: Slice, top: float) -> None:
    scores, rungs = np.asarray(one.scores, float), np.asarray(one.rungs, float)
    places, names = _places(one.values)
    best, highest = scores == top, max(rungs.max(), 1)
    alpha = 0.4 + 0.6 * np.where(rungs < 0, highest, rungs) / highest
    if not best.all():  # matplotlib trips over an empty list of alphas
        ax.scatter(places[~best], scores[~best], s=16, color=PALETTE[0], alpha=alpha[~best], linewidths=0)
    ax.scatter(places[best], scores[best], s=34, color=PALETTE[1], linewidths=0)
    importance = "" if math.isnan(one.share) else f" · {100 * one.share:.0f} %"
    name = one.name.rpartition("__")[2]
    ax.set_title(plain(shortened(name, 17) + importance), loc="left", fontsize=8.5, color=INK)
    if names:
        ax.set_xticks(range(len(names)), [plain(shortened(name, 10)) for name in names])
        ax.set_xlim(-0.5, len(names) - 0.5)
    elif one.log and places.min() > 0:
        ax.set_xscale("log")
        ticks = sorted({float(f"{tick:.1g}") for tick in np.geomspace(places.min(), places.max(), 3)})
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.get_xticklabels()[-1].set_horizontalalignment("right")  # or they would run into the next panel's
        ax.get_xticklabels()[0].set_horizontalalignment("left")
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=bool((places == places.round()).all())))


def _places(values: Sequence[Any]) -> tuple[Any, list[str]]:
    """Give where values stand on an axis, and names of the places where they are no numbers."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.asarray(values, float), []
    names = sorted({str(value) for value in values})
    return np.array([names.index(str(value)) for value in values], float), names


def shortened(name: str, longest: int) -> str:
    """Cut the front of a long name: the end tells parameters apart."""
    return name if len(name) <= longest else "…" + name[1 - longest :]
