"""Every figure can live inside a page: well-formed, spoken, in the page's colours, and reaching for nothing."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fmnist_bench.report import canvas, figures, search_figures
from fmnist_bench.report.figures import Picture, Score
from fmnist_bench.report.search_figures import Curve, Slice, Training

SCORES = {"cnn": Score(0.93, 0.92, 0.94, 0.5), "a $x$ <b>": Score(0.9, 0.89, 0.91, 0.1)}
EVERY = {
    "accuracy_intervals": lambda width: figures.accuracy_intervals(SCORES, width),
    "accuracy_against_cost": lambda width: figures.accuracy_against_cost(SCORES, width),
    "anytime": lambda width: search_figures.anytime(
        {"cnn": [(90, 0.9), (30, 0.8)], "cnn+gan": [], "_": []}, 600, width
    ),
    "learning_curves": lambda width: search_figures.learning_curves({"$": [Curve([1, 2], [0.5, 0.9])]}, width),
    "training": lambda width: search_figures.training(
        {"$": [Training({"step": [1, 2], "fit_accuracy": [0.5, 0.8], "valid_loss": [0.9, 0.4]}, best=True)]}, width
    ),
    "minutes": lambda width: search_figures.minutes({"cnn": {"complete": 500.0, "pruned": 20.0}}, width),
    "slices": lambda width: search_figures.slices("<b>", [Slice("C", [0.1, 9], [0.5, 0.6], [0, 1], 0.4, True)], width),
    "confusion": lambda _: figures.confusion(np.array([[9, 1], [0, 10]]), ["<b>", "_bag"], "Confusion matrix"),
    "pictures": lambda _: figures.pictures([Picture(np.zeros((8, 8), np.uint8), "$ <b>")], "Mistakes"),
}


@pytest.fixture(scope="module", params=[(name, width) for name in EVERY for width in (canvas.WIDE, canvas.NARROW)])
def figure(request):
    name, width = request.param
    return EVERY[name](width)


@pytest.fixture(scope="module")
def svg(figure):
    return canvas.to_svg(figure)


def test_svg_is_one_wellformed_element_with_a_spoken_title(figure, svg):
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    assert root.get("aria-label") == figure.get_label()


@pytest.mark.parametrize("name", ["anytime", "slices"])
def test_svg_of_equal_data_is_equal(name):
    assert canvas.to_svg(EVERY[name](canvas.WIDE)) == canvas.to_svg(EVERY[name](canvas.WIDE))


def test_the_two_widths_of_a_figure_share_a_page_without_sharing_an_id():
    ids = [set(re.findall(r'\bid="([^"]+)"', canvas.to_svg(EVERY["minutes"](w)))) for w in (canvas.WIDE, canvas.NARROW)]
    assert ids[0] and not ids[0] & ids[1]


def test_svg_reaches_for_nothing(svg):
    outside = [
        url
        for url in re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', svg)
        if not "".join(url).startswith(("#", "data:image/png;base64,"))
    ]
    assert not outside
    assert not re.findall(r'(?<!xmlns=")(?<!xmlns:xlink=")https?:', svg)


def test_svg_references_point_at_ids_that_carry_the_label(figure, svg):
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    prefix = re.sub(r"\W+", "-", figure.get_label().lower())
    assert ids
    assert all(name.startswith(prefix) for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg)) <= ids


def test_every_colour_of_the_svg_is_the_pages_own(svg):
    for colour in (canvas.INK, canvas.GREY, canvas.GRID, *canvas.PALETTE):
        assert f": {colour}" not in svg


def test_png_is_a_png(figure):
    assert canvas.to_png(figure).startswith(b"\x89PNG")


def test_variant_of_a_study_shares_its_colour_but_not_its_line():
    parts = {"cnn+gan": ("cnn", "gan"), "cnn+tree": ("cnn+tree",)}
    styles = canvas.study_styles(["cnn", "hog", "cnn+gan", "cnn+tree"], parts)
    assert styles["cnn"]["color"] == styles["cnn+gan"]["color"] != styles["hog"]["color"]
    assert styles["cnn"]["linestyle"] == styles["cnn+tree"]["linestyle"] != styles["cnn+gan"]["linestyle"]
    assert styles["cnn+tree"]["color"] not in (styles["cnn"]["color"], styles["hog"]["color"]), "a study of its own"


def test_no_two_studies_share_a_colour_but_grey():
    colours = [style["color"] for style in canvas.study_styles([f"study{n}" for n in range(9)]).values()]
    assert colours[6:] == [canvas.GREY] * 3
    assert len(set(colours)) == 7


@pytest.mark.parametrize(
    "figure",
    [
        lambda: search_figures.anytime({}, 0),
        lambda: search_figures.anytime({"svm": []}, 10),
        lambda: search_figures.minutes({}),
        lambda: search_figures.learning_curves({}),
        lambda: figures.accuracy_intervals({}),
        lambda: figures.pictures([], "Mistakes"),
    ],
)
def test_nothing_to_draw_is_not_an_error(figure):
    assert canvas.to_svg(figure())
