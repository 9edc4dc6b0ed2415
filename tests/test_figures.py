"""Figures: what they draw, and that their SVG can live inside a page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fmnist_bench.reporting import figures
from fmnist_bench.reporting.figures import Curve

EVERY = {
    "accuracy_intervals": lambda: figures.accuracy_intervals(
        {"cnn": (0.93, 0.92, 0.94), "a $x$ <b>": (0.9, 0.89, 0.91)}
    ),
    "anytime": lambda: figures.anytime({"cnn": [(90, 0.9), (30, 0.8)], "cnn+gan": [(60, 0.91)], "none": []}, 600),
    "learning_curves": lambda: figures.learning_curves({"cnn": [Curve([1, 2], [0.5, 0.9], best=True)]}),
    "minutes": lambda: figures.minutes({"cnn": {"complete": 500.0, "pruned": 20.0}}),
    "confusion": lambda: figures.confusion(np.array([[9, 1], [0, 10]]), ["<b>", "_bag"], "Confusion matrix"),
}


@pytest.fixture(params=EVERY)
def figure(request):
    return EVERY[request.param]()


def test_svg_is_one_wellformed_element_with_a_spoken_title(figure):
    root = ElementTree.fromstring(figures.to_svg(figure))
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    assert root.get("aria-label") == figure.get_label()


@pytest.mark.parametrize("name", EVERY)
def test_svg_of_equal_data_is_equal(name):
    assert figures.to_svg(EVERY[name]()) == figures.to_svg(EVERY[name]())


def test_svg_reaches_for_nothing(figure):
    svg = figures.to_svg(figure)
    outside = [
        url for url in re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', svg) if not "".join(url).startswith("#")
    ]
    assert not outside
    assert not re.findall(r'(?<!xmlns=")(?<!xmlns:xlink=")https?:', svg)


def test_svg_references_point_at_ids_that_carry_the_label(figure):
    svg = figures.to_svg(figure)
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    prefix = re.sub(r"\W+", "-", figure.get_label().lower())
    assert ids
    assert all(name.startswith(prefix) for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg)) <= ids


def test_svg_ink_follows_the_page(figure):
    svg = figures.to_svg(figure)
    assert f"var(--ink, {figures.INK})" in svg
    assert f": {figures.INK}" not in svg


def test_png_is_a_png(figure):
    assert figures.to_png(figure).startswith(b"\x89PNG")


def test_variant_of_a_study_shares_its_colour_but_not_its_line():
    styles = figures.arm_colours(["cnn", "hog", "cnn+gan"])
    assert styles["cnn"]["color"] == styles["cnn+gan"]["color"] != styles["hog"]["color"]
    assert styles["cnn"]["linestyle"] != styles["cnn+gan"]["linestyle"]


def test_anytime_line_is_the_running_best_up_to_the_end():
    figure = figures.anytime({"cnn": [(90, 0.7), (30, 0.8), (120, 0.9)]}, 600)
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0.5, 1.5, 2, 10])
    np.testing.assert_allclose(line.get_ydata(), [0.8, 0.8, 0.9, 0.9])
    assert figure.axes[0].get_xlabel() == "search time, minutes"


def test_learning_curves_stress_the_best_and_grey_out_the_pruned():
    curves = [Curve([1, 2, 3], [0.5, 0.8, 0.9], best=True), Curve([1, 2], [0.4, 0.5], "pruned"), Curve([1], [0.6])]
    axes = figures.learning_curves({"cnn": curves, "boost": curves[1:]}).axes
    assert len(axes) == 2
    assert [line.get_color() for line in axes[0].lines] == [figures.GREY, figures.PALETTE[0], figures.PALETTE[1]]


def test_learning_curves_keep_the_page_small_and_bear_a_torn_history():
    long = np.linspace(0.1, 0.9, 5000)
    axes = figures.learning_curves({"boost": [Curve(range(5001), long)] * 40}).axes
    lengths = [len(line.get_xdata()) for line in axes[0].lines]
    assert sum(lengths) <= figures.MAX_POINTS
    assert axes[0].lines[0].get_xdata()[-1] == 4999


def test_minutes_stack_to_the_total():
    axes = figures.minutes({"cnn": {"complete": 300.0, "pruned": 60.0}, "hog": {"complete": 120.0}}).axes[0]
    ends = [patch.get_x() + patch.get_width() for patch in axes.patches]
    assert max(ends) == pytest.approx(6)


@pytest.mark.parametrize(
    "figure",
    [
        lambda: figures.anytime({}, 0),
        lambda: figures.anytime({"svm": []}, 10),
        lambda: figures.minutes({}),
        lambda: figures.learning_curves({}),
        lambda: figures.accuracy_intervals({}),
    ],
)
def test_nothing_to_draw_is_not_an_error(figure):
    assert figures.to_svg(figure())
