"""Which parameters of a study went with which accuracies: one panel a parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from fmnist_bench.report.canvas import INK, PALETTE, PERCENT, WIDTH, axes, plain, shortened
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.search_figures import PANEL, score_range
from fmnist_bench.storage.trial import Trial

MIN_TRIALS = 4  # complete trials of a study, to draw its parameters
MAX_TRIALS = 400  # trials of a study whose parameters are drawn: the best
MAX_PANELS = 4  # parameters drawn of a study


class Slice(NamedTuple):
    """One parameter of a study and the validation accuracy of the complete trials that set it: lists of one length.

    `rungs` say how thorough each trial was, from 0, or below 0 for one that is none of the rungs; `share` is the
    parameter's importance, NaN where it is not known.
    """

    name: str
    values: Sequence[Any]
    scores: Sequence[float]
    rungs: Sequence[int]
    share: float = math.nan
    log: bool = False


def of_study(findings: Findings, study: str) -> list[Slice]:
    """Give a study's searched parameters with the accuracies of its complete trials, the most important first."""
    trials = [trial for trial in findings.trials if trial.study == study and trial.is_complete]
    known = findings.importances.get(study)
    if known is None or len(trials) < MIN_TRIALS:
        return []
    trials.sort(key=lambda trial: -(trial.accuracy or 0))
    ordered = dict.fromkeys([*known.shares, *known.searched])
    columns = {name: _columns(trials[:MAX_TRIALS], name) for name in ordered}
    return [
        Slice(name, *columns[name], known.shares.get(name, math.nan), known.searched.get(name, False))
        for name in ordered
        if len(set(map(str, columns[name][0]))) > 1
    ]


def _columns(trials: list[Trial], name: str) -> tuple[list[object], list[float], list[int]]:
    own = [trial for trial in trials if name in trial.settings]
    scores = [float(trial.accuracy or 0) for trial in own]
    return [trial.settings[name] for trial in own], scores, [trial.rung for trial in own]


def draw(study: str, parameters: Sequence[Slice]) -> Figure:
    """Draw the validation accuracy of a study's trials against its parameters, one panel each, two in a row.

    The more thorough a trial was, the stronger the colour of its point; the best is orange.
    """
    shown = parameters[:MAX_PANELS]
    columns = min(2, len(shown))
    n_rows = -(-len(shown) // columns)
    fig = Figure(figsize=(WIDTH, height := 0.1 + PANEL * n_rows))
    fig.set_label(f"Validation accuracy by parameter: {study}")
    # Placed by hand: to let matplotlib find the room takes most of the time, and every figure here is alike.
    fig.subplots_adjust(0.62 / WIDTH, 0.24 / height, 1 - 0.12 / WIDTH, 1 - 0.24 / height, 0.1, 0.5)
    scores = [score for one in shown for score in one.scores]
    for place, one in enumerate(shown):
        left = place % columns == 0
        ax = axes(fig, (n_rows, columns, place + 1), ylabel="valid. accuracy, %" if left else "")
        _draw_slice(ax, one, max(scores))
        ax.set_ylim(score_range(scores))
        ax.yaxis.set_major_formatter(PERCENT)
        ax.yaxis.label.set_fontsize(9)
        ax.tick_params(labelsize=8.5, labelleft=left)
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
    ax.set_title(plain(shortened(name, 17) + importance), loc="left", fontsize=9, color=INK)
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
