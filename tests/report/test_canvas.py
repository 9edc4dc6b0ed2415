"""Every figure can live inside a page: well-formed, spoken, in the page's colours, and reaching for nothing."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fmnist_bench.report import canvas, figures, parameter_slices, search_figures
from fmnist_bench.report.figures import Gain, Picture, Score
from fmnist_bench.report.metrics import ConfidenceBin
from fmnist_bench.report.parameter_slices import Slice
from fmnist_bench.report.search_figures import Span, Training

SCORES = {"cnn": Score(0.93, 0.92, 0.94, 0.5), "a $x$ <b>": Score(0.9, 0.89, 0.91, 0.1)}
BIN = ConfidenceBin(0.9, 7, 0.95, 0.9, 0.6, 0.99)
EVERY = {
    "accuracy_intervals": lambda: figures.accuracy_intervals(SCORES),
    "accuracy_against_cost": lambda: figures.accuracy_against_cost(SCORES),
    "reliability": lambda: figures.reliability({"_": [BIN], "$": [BIN]}),
    "forest": lambda: figures.forest({"cnn+gan − cnn": Gain(0.01, -0.01, 0.03)}),
    "anytime": lambda: search_figures.anytime(
        {"cnn": [(90, 0.9), (30, 0.8)], "cnn+gan": [], "_": []}, 600, ensemble=[(30, 0.8), (90, 0.92)]
    ),
    "learning_curves": lambda: search_figures.learning_curves({"$": [Training({"valid_accuracy": [0.5, 0.9]})]}),
    "loss": lambda: search_figures.learning_curves(
        {"$": [Training({"step": [1, 2], "fit_loss": [0.9, 0.3], "valid_loss": [0.9, 0.4]}, best=True)]}, "loss"
    ),
    "fidelity": lambda: search_figures.fidelity({name: {"step": [1, 2], "fidelity": [0.1, 0.9]} for name in "ab"}),
    "timeline": lambda: search_figures.timeline({"cnn": [Span(0.0, 20.0, "look"), Span(20.0, 500.0, "train")]}),
    "slices": lambda: parameter_slices.draw("<b>", [Slice("C", [0.1, 9], [0.5, 0.6], [0, 1], 0.4, True)]),
    "confusion": lambda: figures.confusion(np.array([[9, 1], [0, 10]]), ["<b>", "_bag"], "Confusion matrix"),
    "pictures": lambda: figures.pictures([Picture(np.zeros((8, 8), np.uint8), "$ <b>", np.eye(7))], "Mistakes"),
}
ON_A_PAGE = [name for name in EVERY if name not in ("confusion", "pictures")]


@pytest.fixture(scope="module", params=EVERY)
def figure(request):
    return EVERY[request.param]()


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
    assert canvas.to_svg(EVERY[name]()) == canvas.to_svg(EVERY[name]())


@pytest.mark.parametrize("name", ON_A_PAGE)
def test_a_figure_of_the_page_is_as_wide_as_a_phone_can_show(name):
    assert EVERY[name]().get_figwidth() == canvas.WIDTH


def test_figures_share_a_page_without_sharing_an_id():
    ids = [set(re.findall(r'\bid="([^"]+)"', canvas.to_svg(EVERY[name]()))) for name in ("timeline", "anytime")]
    assert ids[0] and not ids[0] & ids[1]


@pytest.mark.parametrize(("name", "in_a_row"), [("svm", 4), ("a_study_of_21_letters", 2), ("x" * 60, 1)])
def test_a_legend_stays_inside_however_long_its_names_are(name, in_a_row):
    studies = {f"{name}{n}": [(60.0, 0.5)] for n in range(4)}
    fig = search_figures.anytime(studies, 600)
    fig.draw_without_rendering()
    (box,) = (legend.get_window_extent() for legend in fig.legends)
    assert box.x0 >= 0 and box.x1 <= fig.bbox.x1
    assert len({round(text.get_window_extent().x0) for text in fig.legends[0].texts}) == in_a_row
    assert box.y0 > max(ax.get_window_extent().y1 for ax in fig.axes), "above the axes"


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
        assert f": {colour}" not in canvas.themed(svg)


@pytest.mark.parametrize("name", ON_A_PAGE)
def test_every_text_on_a_page_can_be_read_in_the_dark(name):
    texts = re.findall("<text [^>]*>", canvas.themed(canvas.to_svg(EVERY[name]())))
    assert texts and all("fill: var(--ink" in text for text in texts)


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
        lambda: search_figures.timeline({}),
        lambda: search_figures.learning_curves({}),
        lambda: figures.accuracy_intervals({}),
        lambda: figures.pictures([], "Mistakes"),
    ],
)
def test_nothing_to_draw_is_not_an_error(figure):
    assert canvas.to_svg(figure())
