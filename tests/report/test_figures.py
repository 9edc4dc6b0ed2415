"""Figures of what the models are worth: that they draw what they were given."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fmnist_bench.report import figures
from fmnist_bench.report.figures import Score
from fmnist_bench.report.metrics import ConfidenceBin


def score(accuracy, cost):
    return Score(accuracy, accuracy - 0.01, accuracy + 0.01, cost)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_the_front_is_of_those_that_none_beats_in_both():
    scores = {"slow": score(0.95, 9), "worse": score(0.9, 2), "quick": score(0.92, 1), "as_slow": score(0.94, 9)}
    assert figures.front(scores) == ["quick", "slow"]


def test_only_the_front_is_named_in_the_figure_of_costs():
    scores = {"slow": score(0.95, 9), "worse": score(0.9, 2), "quick": score(0.92, 1)}
    (legend,) = figures.accuracy_against_cost(scores).legends
    assert [text.get_text() for text in legend.texts] == ["quick", "slow"]


def test_no_two_models_of_the_front_look_alike():
    (ax,) = figures.accuracy_against_cost({str(n): score(0.5 + n / 100, n + 1) for n in range(20)}).axes
    looks = {(line.get_color(), line.get_marker()) for line in ax.lines if line.get_label().isdecimal()}
    assert len(looks) == 20


def test_the_limit_of_the_ensemble_is_a_line():
    scores = {"quick": score(0.8, 0.1), "slow": score(0.9, 3.0)}
    free, limited = (figures.accuracy_against_cost(scores, limit) for limit in (None, 0.5))
    dashed = [[line for line in fig.axes[0].lines if line.get_linestyle() == "--"] for fig in (free, limited)]
    assert dashed[0] == []
    assert list(dashed[1][0].get_xdata()) == [0.5, 0.5]
    assert limited.legends[0].texts[-1].get_text() == "limit of the ensemble, 0.5 ms"


@pytest.mark.parametrize(
    ("costs", "written"),
    [
        ((0.45, 0.95), ["0.5", "0.6", "0.7", "0.8", "0.9"]),
        ((0.003, 0.03), ["0.005", "0.01", "0.02"]),
        ((0.02, 40), ["0.1", "1", "10"]),
        ((0.135, 0.215), ["0.14", "0.15", "0.16", "0.17", "0.18", "0.19", "0.2", "0.21"]),
    ],
)
def test_an_axis_of_costs_is_written_in_plain_numbers(costs, written):
    figure = figures.accuracy_against_cost({str(cost): score(0.9, cost) for cost in costs})
    FigureCanvasAgg(figure).draw()
    axis, labels = figure.axes[0].xaxis, []
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        inside = costs[0] < tick.get_loc() < costs[1]
        labels += [tick.label1.get_text()] if inside and tick.label1.get_text() else []
    assert sorted(labels, key=float) == written


def test_each_row_is_named_above_it_where_a_long_name_has_room():
    ax = figures.accuracy_intervals({"cnn": score(0.9, 1), "svm": score(0.8, 1)}).axes[0]
    assert [text.get_text() for text in ax.texts] == ["cnn", "svm"]
    assert all(0 < row - text.get_position()[1] < 0.5 for row, text in enumerate(ax.texts))


def test_intervals_are_drawn_at_their_ends():
    ax = figures.accuracy_intervals({"cnn": Score(0.9, 0.88, 0.93, 1)}).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.88, 0.93])
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [0.9])


def test_confidence_is_held_against_accuracy_and_every_bin_shows_its_rows():
    bins = [ConfidenceBin(0.5, 3, 0.55, 1 / 3, 0.06, 0.79), ConfidenceBin(0.9, 40, 0.97, 0.95, 0.83, 0.99)]
    above, below = figures.reliability({"ensemble": bins, "svm": bins[1:]}).axes
    np.testing.assert_allclose(above.lines[1].get_xydata(), [[0.55, 1 / 3], [0.97, 0.95]])
    np.testing.assert_allclose(above.collections[0].get_segments()[0], [[0.55, 0.06], [0.55, 0.79]])
    assert [bar.get_height() for bar in below.patches] == [3, 40, 40]
    assert len({bar.get_x() for bar in below.patches}) == 3, "bars of two models stand beside each other"


def test_a_difference_is_signed_with_gains_in_blue_and_losses_in_orange():
    change, clear = np.array([[3, -3], [2, -2]]), np.ones((2, 2), bool)
    ax = figures.confusion(change, ["a", "b"], "Difference", clear=clear).axes[0]
    assert texts(ax) == ["+3", "−3", "+2", "−2"]
    gains = ax.collections[0].get_array().reshape(2, 2)
    # More right and fewer wrong in the first row; in the second one the other way round.
    np.testing.assert_allclose(gains, [[1, 1], [-2 / 3, -2 / 3]])
    colours = ax.collections[0].cmap(ax.collections[0].norm(np.array([1.0, -1.0])))
    assert colours[0][2] > colours[0][0] and colours[1][0] > colours[1][2]
    shaded = figures.confusion(change, ["a", "b"], "Difference", clear=change > 2).axes[0].collections[0]
    np.testing.assert_allclose(shaded.get_array().reshape(2, 2), [[1, 0], [0, 0]])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_pictures_are_shown_as_they_are(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    fig = figures.pictures([figures.Picture(pixels, f"number {n}") for n in range(7)], "Mistakes")
    (ax,) = fig.axes
    assert texts(ax) == ["Mistakes", *(f"number {n}" for n in range(7))]
    np.testing.assert_array_equal(ax.images[6].get_array(), pixels)
    left, right, bottom, top = ax.images[6].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(7 / 5)
    assert top > max(ax.images[0].get_extent()[2:]), "the seventh begins a row"
