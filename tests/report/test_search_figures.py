"""Figures of how a search went: that they draw what they were given, and stay small."""

import numpy as np
import pytest

from fmnist_bench.report import parameter_slices, search_figures
from fmnist_bench.report.canvas import GREY, MAX_POINTS, PALETTE
from fmnist_bench.report.parameter_slices import Slice
from fmnist_bench.report.search_figures import Span, Training


def test_anytime_line_is_the_running_best_up_to_the_end():
    ax = search_figures.anytime({"cnn": [(90, 0.7), (30, 0.8), (120, 0.9)]}, 600).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.5, 1.5, 2, 10])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.8, 0.8, 0.9, 0.9])
    assert ax.get_xlabel() == "search time, minutes"


def test_a_run_that_only_loaded_libraries_at_first_is_shown_from_its_first_score():
    left, right = search_figures.anytime({"svm": [(27, 0.8), (28, 0.9)]}, 29).axes[0].get_xlim()
    assert 25 < left < 27 and right == 29
    assert search_figures.anytime({"svm": [(10, 0.8)]}, 29).axes[0].get_xlim()[0] == 0


def test_anytime_names_every_study_from_the_best_on_and_colours_the_best():
    studies = {f"study{n}": [(60.0, 0.5 + n / 100)] for n in range(10)} | {"none": []}
    fig = search_figures.anytime(studies, 600)
    ax = fig.axes[0]
    assert [text.get_text() for text in fig.legends[0].texts] == [f"study{n}" for n in range(9, -1, -1)]
    colours = {line.get_label(): line.get_color() for line in ax.lines}
    assert [colours[f"study{n}"] for n in range(10)] == [GREY] * 4 + list(PALETTE)[::-1]


def learnt(*scores, **others):
    return Training({"step": range(1, len(scores) + 1), "valid_accuracy": scores}, **others)


def test_learning_curves_stress_the_best_and_grey_out_the_pruned():
    curves = [learnt(0.5, 0.8, 0.9, best=True), learnt(0.4, 0.5, status="pruned"), learnt(0.6)]
    axes = search_figures.learning_curves({"cnn": curves, "boost": curves[1:]}).axes
    assert len(axes) == 2
    assert [line.get_color() for line in axes[0].lines] == [GREY, PALETTE[0], PALETTE[1]]


def test_learning_curves_show_the_weakest_study_not_what_learned_nothing():
    strong = [learnt(*[0.9] * 20), learnt(0.1)]
    low, high = search_figures.learning_curves({"a": strong, "b": [learnt(0.7)]}).axes[0].get_ylim()
    assert 0.1 < low < 0.7
    assert high > 0.9


def test_learning_curves_keep_the_page_small_and_bear_a_torn_history():
    long = np.linspace(0.1, 0.9, 5000)
    torn = Training({"step": range(5001), "valid_accuracy": long})
    axes = search_figures.learning_curves({"boost": [torn] * 40}).axes
    lengths = [len(line.get_xdata()) for line in axes[0].lines]
    assert sum(lengths) <= MAX_POINTS
    assert axes[0].lines[0].get_xdata()[-1] == 4999


def test_the_best_trial_shows_train_rows_dashed_and_each_rung_its_number():
    history = {"step": [1, 2], "fit_accuracy": [0.5, 0.8], "valid_accuracy": [0.6, 0.7], "valid_loss": [0.9]}
    trials = [Training(history, best=True, rung=2), Training({**history, "valid_accuracy": [0.4, 0.5]}, "pruned")]
    ax, other = search_figures.learning_curves({"cnn": trials, "lite0": trials[:1]}).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.4, 0.5], [0.5, 0.8], [0.6, 0.7]]
    assert [line.is_dashed() for line in ax.lines] == [False, True, False]
    assert {text.get_text(): text.xy for text in ax.texts} == {"0": (2.0, 0.5), "2": (2.0, 0.7)}
    assert not other.texts, "there is one rung"
    (loss,) = search_figures.learning_curves({"cnn": trials}, "loss").axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[0.9], [0.9]]


def test_the_timeline_shows_when_and_in_which_phase_trials_ran():
    spans = [Span(0.0, 60.0, "look"), Span(120.0, 600.0, "train")]
    fig = search_figures.timeline({"cnn": spans, "hog": [Span(60.0, 90.0, "search"), Span(30.0, 60.0, "look")]})
    (ax,) = fig.axes
    ends = [path.get_extents().x1 for bars in ax.collections for path in bars.get_paths()]
    assert ends == pytest.approx([1.0, 10.0, 1.0, 1.5])
    assert ax.get_xlabel() == "search time, minutes"
    assert [text.get_text() for text in fig.legends[0].texts] == ["look", "search", "train"]


def test_slices_show_the_first_parameters_each_on_its_own_scale():
    scores, rungs = [0.5, 0.7, 0.9], [0, 0, 2]
    parameters = [
        Slice("model__C", [0.1, 1.0, 10.0], scores, rungs, 0.75, log=True),
        Slice("model__kernel", ["rbf", None, True], scores, rungs, 0.2),
        Slice("model__degree", [2, 3, 4], scores, rungs),
    ]
    logarithmic, named, linear = parameter_slices.draw("svm", parameters).axes
    assert (logarithmic.get_xscale(), linear.get_xscale()) == ("log", "linear")
    assert [label.get_text() for label in named.get_xticklabels()] == ["None", "True", "rbf"]
    titles = [ax.get_title(loc="left") for ax in (logarithmic, named, linear)]
    assert titles == ["C · 75 %", "kernel · 20 %", "degree"]
    assert len(parameter_slices.draw("svm", parameters * 2).axes) == 4


def test_the_best_trial_stands_out_in_slices_where_it_sets_the_parameter():
    both = [Slice("a", [1, 2], [0.5, 0.9], [0, 0]), Slice("only_the_worse_one", [3, 4], [0.5, 0.6], [0, 0])]
    counts = [
        [len(points.get_offsets()) for points in ax.collections] for ax in parameter_slices.draw("svm", both).axes
    ]
    assert counts == [[1, 1], [2, 0]]


def test_slices_of_trials_that_are_all_as_good_show_each_as_the_best():
    (ax,) = parameter_slices.draw("svm", [Slice("C", [1.0, 2.0], [0.5, 0.5], [0, 0], log=True)]).axes
    assert [len(points.get_offsets()) for points in ax.collections] == [2]
