"""The figures of a suite: accuracy against rows and against seconds, and which mean ranks differ."""

from __future__ import annotations

import math
import statistics
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from fmnist_bench.report.canvas import GREY, INK, PERCENT, WIDTH, axes, figure, legend, plain, study_styles
from fmnist_bench.report.families import Families
from fmnist_bench.report.figures import MARKERS, Score, accuracy_against_cost

LEAST_TASKS = 5  # that a diagram of critical differences takes: of fewer Nemenyi's test tells nothing apart
ALPHA = 0.05


def draw(found: Families) -> dict[str, Figure]:
    """Draw what there are data for: `rows_DATA` of each data set of several sizes, `seconds`, `critical`."""
    drawn = {}
    for data in dict.fromkeys(data for data, _ in found.sizes.values()):
        tasks = [task for task in found.tasks if found.sizes[task][0] == data and found.sizes[task][1]]
        if len(tasks) > 1:
            drawn[f"rows_{data}"] = accuracy_against_rows(found, data, tasks)
    if len(found.tasks) > 1 and (fig := accuracy_against_seconds(found)):
        drawn["seconds"] = fig
    if len(found.tasks) >= LEAST_TASKS and (fig := critical_difference(found)):
        drawn["critical"] = fig
    return drawn


def accuracy_against_rows(found: Families, data: str, tasks: list[str]) -> Figure:
    """Draw the mean accuracy of each family by number of rows, with a bar from the lowest to the highest seed."""
    fig = figure(f"Test accuracy against rows, {data}", 3.4)
    ax = axes(fig, xlabel="train and validation rows", ylabel="test accuracy, %")
    sizes = [float(found.sizes[task][1] or 0) for task in tasks]
    looks = zip(found.names, study_styles(found.names).values(), cycle(MARKERS), strict=False)
    for place, (name, style, marker) in enumerate(looks):
        values = [found.accuracies(name, task) for task in tasks]
        shift = 1.025 ** (place - len(found.names) / 2)  # bars of families side by side
        x = [size * shift for size, of in zip(sizes, values, strict=True) if of]
        mean = [statistics.fmean(of) for of in values if of]
        ax.plot(x, mean, marker=marker, ms=4, lw=1.2, color=style["color"], label=plain(name))
        ax.vlines(x, [min(of) for of in values if of], [max(of) for of in values if of], color=style["color"], lw=1)
    ax.set_xscale("log")
    ax.set_xticks(sizes)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PERCENT)
    legend(fig)
    return fig


def accuracy_against_seconds(found: Families) -> Figure | None:
    """Draw mean accuracy over tasks against the mean seconds of a fit; those that nothing beats in both are named."""
    scores = {}
    for name in found.names:
        rows = [found.at(name, task) for task in found.tasks]
        times = [row.fit_seconds for of in rows for row in of if row.fit_seconds > 0]
        if times and all(rows):
            by_task = [statistics.fmean(row.accuracy for row in of) for of in rows]
            mean = statistics.fmean(by_task)
            scores[name] = Score(mean, mean, mean, math.exp(statistics.fmean(map(math.log, times))))
    if len(scores) < 2:
        return None
    fig = accuracy_against_cost(scores)
    fig.set_label("Mean test accuracy over tasks against the seconds of a fit")
    fig.axes[0].set_xlabel("seconds of a fit (geometric mean over runs)", color=INK)
    fig.axes[0].set_ylabel("mean test accuracy over tasks, %", color=INK)
    return fig


def critical_difference(found: Families) -> Figure | None:
    """Draw mean ranks over tasks; a bar joins families that Nemenyi's test does not tell apart (Demšar, 2006).

    None without the package scikit-posthocs.
    """
    try:
        from scikit_posthocs import critical_difference_diagram, posthoc_nemenyi_friedman
    except ImportError:
        return None
    errors = pd.DataFrame({name: [found.error(name, task) for task in found.tasks] for name in found.names})
    ranks = errors.rank(axis=1).mean()
    fig = figure("Mean ranks over tasks, and which of them differ", 1.0 + 0.17 * len(ranks), WIDTH * 1.6)
    ax = fig.add_subplot()
    critical_difference_diagram(
        ranks,
        posthoc_nemenyi_friedman(np.asarray(errors)).set_axis(found.names, axis=0).set_axis(found.names, axis=1),
        alpha=ALPHA,
        ax=ax,
        color_palette=dict.fromkeys(found.names, INK),
        label_props={"fontsize": 8.5},
        crossbar_props={"color": GREY, "linewidth": 1.5},
        elbow_props={"linewidth": 0.8},
        marker_props={"s": 20},
    )
    ax.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    ax.spines["top"].set_color(GREY)
    return fig
