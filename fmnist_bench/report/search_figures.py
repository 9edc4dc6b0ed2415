"""The figures of how a search went: plain data in, a matplotlib `Figure` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fmnist_bench.report.canvas import (
    DASHED,
    GREY,
    INK,
    LINE,
    MAX_POINTS,
    PALETTE,
    PERCENT,
    ROW,
    Parts,
    axes,
    figure,
    legend,
    name_rows,
    plain,
    shortened,
    study_styles,
    unit_of,
)

MEASURES = {"accuracy": "accuracy, %", "loss": "loss"}
PHASE_COLOURS = {"look": PALETTE[4], "search": PALETTE[0], "train": PALETTE[2]}
PANEL = 1.5  # inches: height of one of many panels


class Training(NamedTuple):
    """A trial's training, step by step: loss and accuracy of train and validation rows, as far as known.

    `status` is that of the store, `best` is for the trial to stress, `rung` its fidelity.
    """

    history: Mapping[str, Sequence[float]]
    status: str = "complete"
    best: bool = False
    rung: int = 0


class Span(NamedTuple):
    """When a trial ran, seconds of the search, in which phase of the run."""

    begun: float
    ended: float
    phase: str


def anytime(
    studies: Mapping[str, Sequence[tuple[float, float]]],
    end: float,
    parts: Parts | None = None,
    ensemble: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Draw each study's best validation accuracy so far against the wall clock; the legend names the best first.

    Parameters
    ----------
    studies : mapping of str to sequence of (seconds, accuracy)
        The complete trials of each study by the time at which they ended; the best six studies get colours.
    end : float
        Seconds at which the run ended; every line reaches it.
    parts : mapping of str to sequence of str, or None
        Study and augmentations of each study; None where every study is a study.
    ensemble : sequence of (seconds, accuracy)
        What the ensemble would have reached by then.
    """
    fig = figure("Best validation accuracy so far, by study", 2.9)
    ax = axes(fig, xlabel=f"search time, {unit_of(end)[1]}", ylabel="best validation accuracy, %")
    finals = {study: max(score for _, score in points) for study, points in studies.items() if points}
    ordered = sorted(finals, key=lambda study: -finals[study])
    styles = study_styles(ordered, parts)
    lines = {study: _draw_best(ax, study, studies[study], end, style) for study, style in reversed(styles.items())}
    if ensemble:
        lines["ensemble"] = _draw_best(ax, "ensemble", ensemble, end, {"color": INK, "linestyle": LINE})
        finals["ensemble"] = max(score for _, score in ensemble)
        ordered.insert(0, "ensemble")
    if finals:
        # Curves may enter from below: the early, poor trials must not flatten the range that matters.
        low, high = min(finals.values()), max(finals.values())
        span = max(high - low, 0.01)
        ax.set_ylim(max(0.0, low - 0.5 * span), min(1.0, high + 0.1 * span) + 0.002)
        legend(fig, [lines[study] for study in ordered])
    times = [seconds for points in studies.values() for seconds, _ in points] or [0]
    last = max(*times, end)
    begun = 0.98 * min(times) if min(times) > last / 2 else 0  # a run of seconds: libraries took most of them
    ax.set_xlim(begun / unit_of(end)[0], last / unit_of(end)[0] or 1)
    ax.yaxis.set_major_formatter(PERCENT)
    return fig


def _draw_best(
    ax: Axes, study: str, found: Sequence[tuple[float, float]], end: float, style: Mapping[str, Any]
) -> Line2D:
    """Draw one study's best so far up to the end, with a point where it begins."""
    points = np.array(sorted(found), dtype=float)
    best = np.maximum.accumulate(points[:, 1])
    seconds = np.append(points[:, 0], max(end, points[-1, 0])) / unit_of(end)[0]
    look = {"label": plain(study), "lw": 1.2 if style["color"] == GREY else 1.9, **style}
    (line,) = ax.plot(seconds, np.append(best, best[-1]), drawstyle="steps-post", **look)
    ax.plot(seconds[0], best[0], "o", ms=4, color=style["color"])
    return line


def learning_curves(studies: Mapping[str, Sequence[Training]], measure: str = "accuracy") -> Figure:
    """Draw accuracy or loss on validation rows by step, one panel a study; of the best trial that on train rows, too.

    The number at the end of a curve is the rung, for the best trial of each rung.
    """
    columns = min(2, max(1, len(studies)))
    n_rows = max(1, -(-len(studies) // columns))
    fig = figure(f"Learning curves by study: {measure}", 0.6 + max(PANEL * n_rows, 2.0))
    share = max(10, MAX_POINTS // max(1, 2 * sum(map(len, studies.values()))))
    first: Axes | None = None
    for place, (study, trials) in enumerate(studies.items()):
        ax = axes(fig, (n_rows, columns, place + 1), sharey=first)
        first = first or ax
        ax.set_title(plain(shortened(study, 26)), loc="left", fontsize=9, color=INK)
        ax.tick_params(labelleft=place % columns == 0)
        _draw_curves(ax, trials, measure, share)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.margins(x=0.1)
        ax.set_xlim(left=0)
    if first is not None:
        first.set_ylim(_range(studies, measure))
        if measure == "accuracy":
            first.yaxis.set_major_formatter(PERCENT)
        _name_axes(fig, "step (epoch or boosting round)", MEASURES[measure])
        looks = {"best": Training({}, best=True), "complete": Training({}), "pruned or stopped": Training({}, "pruned")}
        handles = [Line2D([], [], label=name, **_look(trial)) for name, trial in looks.items()]
        legend(fig, [*handles, Line2D([], [], color=PALETTE[1], ls=DASHED, label="best, on train rows")])
    return fig


def _draw_curves(ax: Axes, trials: Sequence[Training], measure: str, share: int) -> None:
    """Draw the trials of a study, and the rung at the end of the best of each rung."""
    ends: dict[int, tuple[float, float]] = {}
    sign = 1 if measure == "accuracy" else -1
    for trial in _ordered(trials):
        if trial.best:
            _draw_curve(ax, trial, f"fit_{measure}", share, ls=DASHED, lw=1.4)
        end = _draw_curve(ax, trial, f"valid_{measure}", share)
        if end is not None and (trial.rung not in ends or sign * end[1] > sign * ends[trial.rung][1]):
            ends[trial.rung] = end
    for rung, end in ends.items() if len(ends) > 1 else ():
        looks: dict[str, Any] = {"fontsize": 8, "color": INK, "va": "center", "xytext": (3, 0)}
        ax.annotate(str(rung), end, textcoords="offset points", **looks)


def _range(studies: Mapping[str, Sequence[Training]], measure: str) -> tuple[float, float]:
    """Give the range in which the curves of a measure differ."""
    found = [[s for t in trials for s in t.history.get(f"valid_{measure}", ())] for trials in studies.values()]
    scores = [score for scores in found for score in scores]
    scores += [s for trials in studies.values() for t in trials if t.best for s in t.history.get(f"fit_{measure}", ())]
    if measure == "accuracy":
        return score_range(scores, min((max(scores) for scores in found if scores), default=1.0))
    return 0.0, float(np.nanquantile(scores, 0.95)) * 1.05 or 1.0


def _name_axes(fig: Figure, xlabel: str, ylabel: str = "") -> None:
    """Name what all panels have in common."""
    fig.supxlabel(xlabel, color=INK, fontsize=10)
    fig.supylabel(ylabel, color=INK, fontsize=10)


def _ordered(trials: Sequence[Training]) -> list[Training]:
    """Order trials so that those that matter are drawn last, above the others."""
    return sorted(trials, key=lambda trial: (trial.best, trial.status != "pruned"))


def score_range(scores: Sequence[float], shown: float = 1.0) -> tuple[float, float]:
    """Give the range in which scores differ, `shown` included; a trial that learned nothing must not flatten it."""
    top = float(np.nanmax(scores))
    low = max(min(float(np.nanquantile(scores, 0.1)), shown), top - 0.5)
    return max(0.0, low - 0.1 * (top - low) - 0.002), top + 0.06 * (top - low) + 0.002


def _draw_curve(ax: Axes, trial: Training, name: str, share: int, **look: Any) -> tuple[float, float] | None:
    """Draw one of a trial's histories by step, in at most `share` points; give where it ends."""
    found = trial.history.get(name, [])
    reached = trial.history.get("step") or range(1, len(found) + 1)
    if not (n := min(len(reached), len(found))):
        return None
    keep = np.unique(np.linspace(0, n - 1, min(n, share)).round().astype(int))
    steps, scores = np.asarray(reached, float)[keep], np.asarray(found, float)[keep]
    ax.plot(steps, scores, marker="o" if n == 1 else None, ms=3, **{**_look(trial), **look})
    return float(steps[-1]), float(scores[-1])


def _look(trial: Training) -> dict[str, Any]:
    if trial.best:
        return {"color": PALETTE[1], "lw": 2.2}
    return {"color": PALETTE[0], "lw": 1.1, "alpha": 0.75} if trial.status == "complete" else {"color": GREY, "lw": 1}


def fidelity(studies: Mapping[str, Mapping[str, Sequence[float]]], parts: Parts | None = None) -> Figure:
    """Draw how the images of each study's generator became what was asked of it, by its histories of the training."""
    fig = figure("Label fidelity of the synthetic images", 2.2)
    ax = axes(fig, xlabel="training step", ylabel="of the right class, %")
    styles = study_styles(list(studies), parts)
    for study, history in studies.items():
        ax.plot(history["step"], history["fidelity"], label=plain(study), color=styles[study]["color"])
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PERCENT)
    if len(studies) > 1:
        legend(fig)
    return fig


def timeline(studies: Mapping[str, Sequence[Span]]) -> Figure:
    """Draw when each study's trials ran, in the colour of the phase of the run that each belongs to.

    Parameters
    ----------
    studies : mapping of str to sequence of Span
    """
    factor, unit = unit_of(max((span.ended for spans in studies.values() for span in spans), default=0.0))
    fig = figure("When the trials of each study ran", 0.8 + ROW * len(studies))
    ax = axes(fig, xlabel=f"search time, {unit}")
    drawn: dict[str, Artist] = {}
    for row, spans in enumerate(studies.values()):
        for phase, colour in PHASE_COLOURS.items():
            bars = [(s.begun / factor, (s.ended - s.begun) / factor) for s in spans if s.phase == phase]
            if bars:
                drawn[phase] = ax.broken_barh(bars, (row - 0.18, 0.36), color=colour, lw=0, label=phase)
    name_rows(ax, list(studies))
    if drawn:
        ax.set_xlim(left=0)
        legend(fig, [drawn[phase] for phase in PHASE_COLOURS if phase in drawn])
    return fig
