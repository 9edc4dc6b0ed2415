"""The report made from models that were really fitted, from little, and from nothing."""

import base64
import dataclasses
import html.parser
import io
import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from found import NAMES, PIXEL, trial
from PIL import Image
from sklearn.metrics import accuracy_score

from fmnist_bench.ensemble.selection import with_temperature
from fmnist_bench.report import draw as drawing
from fmnist_bench.report import parameter_slices, render, tables
from fmnist_bench.report.augmentations import Augmented
from fmnist_bench.report.canvas import to_svg
from fmnist_bench.report.contestant import Contestant, Occlusion
from fmnist_bench.report.distillation import distilled
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.metrics import expected_calibration_error, mcnemar
from fmnist_bench.storage.results import TrialResult

SECTIONS = ("answer", "leaderboard", "ensemble", "classes", "search", "failures", "environment")


@pytest.fixture(scope="module")
def augmented(findings):
    """The same with a study that differs from another by an augmentation that had to learn."""
    linear, bayes = findings.contestants
    history = {"step": [100.0, 200.0], "fidelity": [0.2, 0.875]}
    learnt = trial("linear+gan", -1, TrialResult("prepared", history=history), 30.0, 40.0)
    without = trial("linear", 0, TrialResult("complete", accuracy=0.5, log_loss=1.0), 20.0, 20.0)
    with_it = trial("linear+gan", 0, TrialResult("complete", accuracy=0.75, log_loss=1.0), 30.0, 20.0)
    difference = mcnemar(np.zeros(4, int), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    return dataclasses.replace(
        findings,
        contestants=(linear, dataclasses.replace(bayes, name="linear+gan")),
        trials=(*findings.trials, learnt),
        samples={"linear+gan": base64.b64decode(PIXEL)},
        parts={"linear+gan": ("linear", "gan")},
        augmented=(Augmented(without, with_it, difference),),
    )


def test_an_augmentation_is_held_against_the_same_study_without_it(augmented):
    (row,) = tables.augmented(augmented).rows
    cells = ["linear+gan", "linear", "inside the interval", "50.00", "75.00", "+25.00"]
    assert [cell.text for cell in row[:6]] == cells
    assert [cell.text for cell in row[-2:]] == ["20.0", "30.0"]


def test_what_a_generator_learnt_is_shown_and_is_no_failure(augmented, page):
    parsed, text = Page(with_figures(augmented)), render.render_markdown(augmented)
    assert "augmentation" in parsed.ids
    assert "augmentation" not in Page(page).ids
    assert parsed.tags["svg"] == Page(page).tags["svg"] + 2  # forest plot and fidelity
    assert f"data:image/png;base64,{PIXEL}" in parsed.links
    assert "| linear+gan | prepared | 30.0 | 200 | 87.5 |" in text
    assert [trial.study for trial in augmented.failed] == ["svm", "svm"]
    assert augmented.seconds_by_kind()["linear+gan"]["prepared"] == 30


def test_taught_networks_are_held_against_their_twin(findings):
    linear, bayes = findings.contestants
    renamed = {"undistilled": bayes, "distilled": linear}.items()
    twin, student = (dataclasses.replace(who, name=name) for name, who in renamed)
    some = dataclasses.replace(
        findings,
        contestants=(student, twin),
        students=("distilled", "undistilled"),
        distillation={"seconds": 12.0, "synthetic": 500, "generator": "linear+gan"},
    )
    rows = {row[0].text: row for row in distilled(some).rows}
    assert list(rows) == ["ensemble (teacher)", "undistilled", "distilled"]
    gain = accuracy_score(findings.y_test, linear.test_pred) - accuracy_score(findings.y_test, bayes.test_pred)
    assert rows["distilled"][3].key == pytest.approx(gain) and rows["undistilled"][3].text == "–"
    for page in (render.render_markdown(some), render.render_html(some)):
        assert "took 12.0 s" in page and "500 images of the GAN of linear+gan" in page
    assert "Distillation" not in render.render_markdown(findings)


def busy(trial, phase, seconds):
    return dataclasses.replace(trial, phase=phase, result=dataclasses.replace(trial.result, fit_cpu_seconds=seconds))


def test_processor_time_is_told_by_phase_and_how_much_of_it_the_members_took(findings):
    looked, searched, trained, *rest = findings.trials
    trials = (
        busy(looked, "look", 10.0),
        busy(searched, "search", 30.0),
        busy(trained, "train", 60.0),
        dataclasses.replace(rest[0], result=TrialResult("not_begun")),
    )
    some = dataclasses.replace(findings, trials=trials, members=((trained.study, trained.number, 1.0),))
    assert some.cpu_by_phase() == {"look": (1, 10.0, 0.0), "search": (1, 30.0, 0.0), "train": (1, 60.0, 60.0)}
    text = render.render_markdown(some)
    assert "| train | 1 | 60.0 | 60 | 60 |" in text
    assert "| all | 3 | 100 | 100 | 60 |" in text


def with_figures(findings):
    """The page as a run writes it."""
    return render.render_html(findings, {name: to_svg(figure) for name, figure in drawing.draw(findings).items()})


@pytest.fixture(scope="module")
def page(findings):
    return with_figures(findings)


class Page(html.parser.HTMLParser):
    """Collect what the tests ask about, and check that tags are closed in order."""

    VOID = frozenset({"meta", "br", "link", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], Counter(), [], []
        self.links, self.rows, self.regions = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[key] for key in ("href", "src", "xlink:href", "action") if key in attrs]
        self.regions += [attrs] if attrs.get("role") == "region" else []
        self.rows += [[]] if tag == "tr" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def test_page_is_wellformed_with_unique_ids_and_every_section(page):
    parsed = Page(page)
    assert parsed.open == []
    assert [name for name, count in Counter(parsed.ids).items() if count > 1] == []
    assert set(SECTIONS) <= set(parsed.ids)
    assert parsed.tags["h1"] == 1
    assert parsed.tags["svg"] == 6  # intervals, costs, reliability, anytime, learning curves, timeline


def test_page_needs_no_network_and_is_small(page):
    parsed = Page(page)
    pictures = [link for link in parsed.links if link.startswith("data:image/png;base64,")]
    beside = [link for link in parsed.links if link.startswith("figures/")]
    assert all(link[1:] in parsed.ids for link in parsed.links if link not in (*pictures, *beside))
    assert not re.findall(r'(?<!xmlns=")(?<!xmlns:xlink=")https?://', page)
    assert not re.findall(r"@import|url\((?!#)", page)
    assert parsed.tags["link"] == 0
    assert parsed.tags["img"] == len(pictures)
    assert len(page) < 2_000_000


def test_page_escapes_whatever_users_named(page):
    parsed = Page(page)
    assert parsed.tags["b"] == parsed.tags["i"] == parsed.tags["cores"] == 0
    assert parsed.tags["script"] == 1
    text = "".join(parsed.text)
    for name in (*NAMES, "bayes<i>", "ValueError: <script>alert(1)</script>", "two <cores>", "load_ensemble('a&b')"):
        assert name in text


def test_page_regions_can_be_named_and_reached_by_keyboard(page):
    regions = Page(page).regions
    assert regions
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)


def test_page_answers_first_with_the_model_chosen_on_valid_rows(findings, page):
    choice = max(findings.contestants[0], findings.ensemble, key=findings.valid_accuracy)
    text = " ".join("".join(Page(page).text).split())
    answer = text[text.index("The model to use") :]
    scores = findings.scores(choice)
    assert answer.startswith(f"The model to use {choice.name}")
    assert f"{100 * scores['test_accuracy']:.2f} % of 540 test rows right" in answer
    assert f"(95 % interval {100 * scores['test_low']:.2f} to {100 * scores['test_high']:.2f} %)" in answer


def test_page_counts_one_of_a_thing_as_one(findings, page):
    assert "3 studies, 5 trials" in page
    one = dataclasses.replace(findings, contestants=(), ensemble=None, members=(), trials=findings.trials[-1:])
    assert re.search(r"\b1 study, 1 trial\b", render.render_html(one))


def test_page_has_the_confusion_matrix_of_the_ensemble(findings, page):
    counts = [str(n) if n else "·" for n in findings.confusion(findings.ensemble)[3]]
    assert ['"three"', *counts] in Page(page).rows


def test_the_difference_of_two_matrices_is_coloured_where_it_is_more_than_chance():
    y = np.repeat([0, 1], 1000)
    single, ensemble = y.copy(), y.copy()
    single[[0, 1, 2]], ensemble[[3, 4]] = 1, 1  # one more right, by five rows on which they differ
    single[1000:1010] = 0  # ten more right, by ten rows
    who = [
        Contestant(name, 0, {}, {"complete": 1}, rows, rows, 1.0, 1.0, 1.0)
        for name, rows in (("knn", np.eye(2)[single]), ("ensemble", np.eye(2)[ensemble]))
    ]
    found = Findings("Two", ("a", "b"), y, y, (who[0],), who[1])
    *_, difference = tables.matrices(found)
    assert [[cell.text for cell in row[1:]] for row in difference.rows] == [["+1", "−1"], ["−10", "+10"]]
    assert [[bool(cell.shade) for cell in row[1:]] for row in difference.rows] == [[False, False], [True, True]]


def test_every_trial_stands_in_a_table_that_the_script_filters_by_study(findings, page):
    assert page.count('<table class="trials" data-sortable>') == 1
    assert "table.trials" in page and ".trials td:nth-child(4)" in page
    (parameters,) = {index for index, title in enumerate(tables.trials(findings).columns) if title == "Parameters"}
    assert parameters == 3  # the fourth column, which style and script name


def board(findings):
    """Return the leaderboard as name -> column -> text; of two columns of one name, the first."""
    table = tables.leaderboard(findings)
    columns = [*reversed(list(enumerate(table.columns)))]
    return {row[0].text: {name: row[place].text for place, name in columns} for row in table.rows}


def test_leaderboard_holds_the_ensemble_and_every_study(findings):
    rows = board(findings)
    assert list(rows) == ["ensemble", "linear", "bayes<i>", "svm"]
    linear = findings.contestants[0]
    assert rows["linear"]["Test accuracy, %"] == f"{100 * accuracy_score(findings.y_test, linear.test_pred):.2f}"
    assert rows["linear"]["Predict a row, ms"] == f"{1000 * 0.25 / len(findings.y_valid):.3f}"
    for name in ("ensemble", "linear", "bayes<i>"):
        low, high = map(float, rows[name]["95 % interval"].split(" to "))
        assert low < float(rows[name]["Test accuracy, %"]) < high
    assert rows["svm"] == dict.fromkeys(rows["svm"], "–") | {"Model": "svm", "Search, s": "0.20", "Trials": "2 failed"}


def test_leaderboard_marks_the_model_to_use(findings, page):
    assert re.findall(r'<tr class="chosen"><th scope="row">([^<]+)<', page) == [findings.choice.name]


def test_page_shows_the_most_confident_mistakes_with_both_labels(findings, page):
    first, _ = findings.explained
    found = findings.mistakes(first)
    wrong = first.test_pred != findings.y_test
    confidence = first.test_probabilities.max(axis=1)
    assert len(found) == min(12, wrong.sum()) > 0
    assert all(wrong[one.row] and one.true == findings.y_test[one.row] for one in found)
    assert found[0].confidence == confidence[wrong].max()
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    parsed = Page(page)
    assert findings.explained == [findings.ensemble, findings.contestants[0]]
    assert parsed.tags["img"] == sum(len(findings.mistakes(who)) for who in findings.explained)
    picture = next(link for link in parsed.links if link.startswith("data:"))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))
    np.testing.assert_array_equal(shown, findings.image(found[0].row))
    text = " ".join("".join(parsed.text).split())
    assert f"{100 * found[0].confidence:.1f} % sure label: {NAMES[found[0].true]}" in text
    both = re.findall(r"\| Test row \|.*\n.*\n((?:\|.*\n)+)", render.render_markdown(findings))
    assert [len(table.splitlines()) for table in both] == [len(findings.mistakes(who)) for who in findings.explained]


def test_an_ensemble_that_predicts_as_its_best_member_is_explained_once(findings):
    linear, _ = findings.contestants
    same = dataclasses.replace(linear, name="ensemble", trial=None)
    assert dataclasses.replace(findings, ensemble=same).explained == [linear]


@pytest.fixture(scope="module")
def occluded(findings):
    """The same with a map of each of the six surest mistakes: one patch speaks for it, one against it."""
    falls = np.zeros((7, 7))
    falls[2, 4], falls[0, 0], falls[1, 1] = 0.5, -0.25, 0.001
    maps = {who.name: tuple(Occlusion(one, falls) for one in findings.mistakes(who, 6)) for who in findings.explained}
    examples = {code: findings.image(code) for code in range(10)}
    return dataclasses.replace(findings, occlusions=maps, examples=examples, openings=3)


def test_the_page_shows_where_models_looked(occluded):
    page = render.render_html(occluded)
    maps = re.findall(r'<svg role="img" aria-label="Where ([^"]+) looked in row \d+".*?</svg>', page)
    assert Counter(maps) == {name: len(found) for name, found in occluded.occlusions.items()}
    assert page.count('class="bad" fill-opacity="0.75"') == page.count('class="good" fill-opacity="0.38"') == len(maps)
    assert page.count("−50.0 points") == len(maps)
    assert Page(page).open == []


def test_the_page_says_why_there_are_no_maps(findings):
    page = render.render_html(dataclasses.replace(findings, no_occlusions="4 s were left"))
    assert "no pictures of where the models looked: 4 s were left" in " ".join(page.split())


def test_the_page_shows_a_train_image_of_each_class_and_how_often_test_rows_were_opened(occluded):
    parsed, text = Page(render.render_html(occluded)), render.render_markdown(occluded)
    words = " ".join("".join(parsed.text).split())
    assert "A train image of each class" in words
    assert parsed.tags["img"] == 10 + sum(len(occluded.mistakes(who)) for who in occluded.explained)
    for report in (words, text):
        assert "the test rows of this run were opened 3 times" in report


def test_a_model_that_is_as_good_and_faster_is_named(findings):
    linear, _ = findings.contestants
    tied = dataclasses.replace(
        findings.ensemble,
        valid_probabilities=np.eye(10)[findings.y_valid],
        test_probabilities=linear.test_probabilities,
    )
    assert "linear predicts 2 times as fast" in render.render_html(dataclasses.replace(findings, ensemble=tied))
    slow = dataclasses.replace(linear, predict_seconds=9.0)
    slower = dataclasses.replace(findings, ensemble=tied, contestants=(slow, findings.contestants[1]))
    assert "times as fast" not in render.render_html(slower)


def test_large_colour_pictures_are_scaled_down(findings):
    X_test = np.zeros((len(findings.y_test), 100 * 200 * 3), np.uint8)
    page = render.render_html(dataclasses.replace(findings, X=X_test, image_shape=(100, 200, 3)))
    picture = next(link for link in Page(page).links if link.startswith("data:"))
    assert Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).size == (64, 32)


def test_importances_and_slices_of_a_study_that_has_enough_trials(findings):
    assert "| linear | alpha 88 % | 9 |" in render.render_markdown(findings)
    assert parameter_slices.of_study(findings, "linear") == []
    rows = [dataclasses.replace(findings.trials[1], number=n, parameters={"alpha": 0.1**n}) for n in range(5)]
    (one,) = parameter_slices.of_study(dataclasses.replace(findings, trials=tuple(rows)), "linear")
    assert (one.name, one.share, one.log) == ("alpha", 0.875, True)
    assert sorted(one.values, reverse=True) == [0.1**n for n in range(5)]
    assert "slices_linear" in drawing.draw(dataclasses.replace(findings, trials=tuple(rows)))


def test_figures_are_written_in_place_of_earlier_ones_with_their_numbers_and_linked(occluded, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "of_long_ago.png").write_text("")
    written = drawing.write_figures(occluded, tmp_path / "figures")
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files == {f"{name}.{form}" for name in written for form in ("svg", "png", "csv")} | {"trials.csv"}
    assert {"anytime", "mistakes", "occlusion", "confusion_difference"} <= written.keys()
    for name in written:
        root = ElementTree.parse(tmp_path / "figures" / f"{name}.svg").getroot()
        assert root[0].get("fill") == "white"
        assert len(pd.read_csv(tmp_path / "figures" / f"{name}.csv")) > 0
    linked = {link for link in Page(render.render_html(occluded, written)).links if link.startswith("figures/")}
    assert linked == {f"figures/{file}" for file in files}


def test_markdown_has_the_leaderboard_and_escapes_names(findings):
    text = render.render_markdown(findings)
    accuracy = 100 * findings.valid_accuracy(findings.contestants[0])
    assert f"{accuracy:.2f} |" in text.partition("| linear |")[2].partition("\n")[0]
    assert "| 1 complete, 1 pruned |\n" in text and "| 1 |\n" in text
    assert r"bayes\<i\>" in text
    assert r"a\|b" in text
    assert r"\_five\_" in text
    assert "    load_ensemble('a&b')" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert len(tables) == 15


def test_the_model_to_use_keeps_to_the_limit_of_latency(findings):
    slow, fast = (
        dataclasses.replace(who, predict_seconds=s) for who, s in zip(findings.contestants[:2], (9.0, 0.0), strict=True)
    )
    slow = dataclasses.replace(slow, valid_probabilities=np.eye(len(findings.class_names))[findings.y_valid])
    free = dataclasses.replace(findings, contestants=(slow, fast))
    limited = dataclasses.replace(free, max_latency=1.0)
    assert free.choice is slow
    assert limited.best_single is slow
    assert limited.choice in (fast, findings.ensemble)


def test_a_single_model_wins_a_tie_with_the_ensemble(findings):
    linear = findings.contestants[0]
    tied = dataclasses.replace(findings, ensemble=dataclasses.replace(linear, name="ensemble", trial=None))
    assert tied.choice is linear
    assert "cannot be told apart" in render.render_html(tied)


def test_a_run_in_which_everything_failed(findings):
    bare = dataclasses.replace(findings, contestants=(), ensemble=None, members=(), trials=findings.trials[-2:])
    text = "".join(Page(render.render_html(bare)).text)
    assert "no trial was complete" in text
    assert "No ensemble was built" in text
    assert "ValueError: <script>" in text
    assert set(drawing.draw(bare)) == {"timeline"}
    assert drawing.draw_alone(bare) == {}
    assert "| 2 failed |" in render.render_markdown(bare)
    assert list(board(bare)) == ["svm"]


def test_findings_of_nothing(findings):
    empty = Findings("Nothing", NAMES, findings.y_valid, findings.y_test, (), None)
    assert set(SECTIONS) <= set(Page(render.render_html(empty)).ids)
    assert "There is none" in render.render_markdown(empty)
    assert board(empty) == {}
    assert drawing.draw(empty) == drawing.draw_alone(empty) == {}


def test_a_contestant_without_predictions_and_no_history(findings):
    nothing = np.empty((0, 10))
    svm = Contestant("svm", None, {}, {"failed": 2}, nothing, nothing, np.nan, np.nan, 0.2)
    trials = tuple(dataclasses.replace(trial, result=TrialResult(trial.status)) for trial in findings.trials)
    some = dataclasses.replace(findings, contestants=(*findings.contestants, svm), trials=trials)
    assert "No trial learned step by step" in with_figures(some)
    assert board(some)["svm"]["Test accuracy, %"] == "–"
    assert some.best_single is findings.contestants[0]


def test_contestants_without_an_ensemble(findings):
    alone = dataclasses.replace(findings, ensemble=None, members=())
    page = render.render_html(alone)
    assert alone.choice is findings.contestants[0]
    assert "Difference: ensemble" not in page
    assert "confusion_ensemble" not in drawing.draw_alone(alone)


def test_many_classes_get_a_list_of_confusions_instead_of_a_matrix():
    y = np.repeat(np.arange(40), 5)
    probabilities = np.eye(40)[(y + (np.arange(200) % 7 == 0)) % 40]
    one = Contestant("knn", 0, {}, {"complete": 1}, probabilities, probabilities, 1.0, 1.0, 1.0)
    names = tuple(f"class {number}" for number in range(40))
    page = with_figures(Findings("Many", names, y, y, (one,), None))
    assert "most frequent confusions" in page
    assert ["class 0", "class 1", "1"] in Page(page).rows
    assert len(page) < 150_000


def test_the_page_says_what_the_temperature_did(findings):
    assert "temperature" not in render.render_markdown(findings)
    uncalibrated = with_temperature(findings.ensemble.test_probabilities, 0.5)
    scaled = dataclasses.replace(findings, temperature=2.0, uncalibrated=uncalibrated)
    text = render.render_markdown(scaled)
    assert "one temperature, 2.00" in text
    before = expected_calibration_error(uncalibrated, findings.y_test)
    after = findings.scores(findings.ensemble)["test_calibration_error"]
    assert f"{100 * before:.2f} % without it and {100 * after:.2f} % with it" in text
    assert before != after


def test_the_terminal_says_why_a_study_has_no_score(findings):
    rows = [("bare", "no_weights"), ("late", "not_begun")]
    more = [trial(study, 0, TrialResult(status, "why"), 1.0, 1.0) for study, status in rows]
    lines = render.terminal_leaderboard(dataclasses.replace(findings, trials=(*findings.trials, *more))).splitlines()
    said = {line.split()[0]: line.split() for line in lines}
    assert said["bare"][-5:] == ["weights", "–", "–", "1", "–"]
    assert said["late"][-5:] == ["begun", "–", "–", "0", "–"]
    assert said["ensemble"][-2] == str(len(findings.trials) + 1)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("width", "n"), [(40, 3), (60, 4), (80, 7), (100, 8)])
def test_a_narrow_leaderboard_drops_columns_and_keeps_names(findings, width, n):
    long = trial("hist_gradient_boosting", 0, TrialResult("no_weights", "why"), 1.0, 1.0)
    findings = dataclasses.replace(findings, trials=(*findings.trials, long))
    head, *lines = render.terminal_leaderboard(findings, width).splitlines()
    assert max(map(len, [head, *lines])) <= width
    assert [line.split()[0] for line in lines] == [who.name for who in findings.everyone]
    assert "test %" in head and len(re.split("  +", head.strip())) == n - 1


@pytest.fixture(scope="module")
def unopened(findings):
    """What was found where there are no test rows."""
    nothing = np.empty((0, 10), np.float32)
    blind = [dataclasses.replace(who, test_probabilities=nothing) for who in (*findings.contestants, findings.ensemble)]
    pixels = np.zeros((len(findings.y_valid), 64), np.uint8)
    return dataclasses.replace(findings, y_test=None, contestants=tuple(blind[:-1]), ensemble=blind[-1], X=pixels)


def test_without_test_rows_scores_are_those_of_the_validation_rows_and_the_report_says_so(unopened):
    page, text = render.render_html(unopened), render.render_markdown(unopened)
    n = f"{len(unopened.y_valid)} validation rows right"
    for report in (page, text):
        assert n in report
        assert "There were no test rows" in report
        assert "Test accuracy" not in report
        assert "McNemar" not in report
    assert "Validation row" in text
    accuracy = accuracy_score(unopened.y_valid, unopened.contestants[0].valid_probabilities.argmax(axis=1))
    assert f"| linear | {100 * accuracy:.2f} |" in text
    assert "test" not in render.terminal_leaderboard(unopened)
    assert unopened.scores(unopened.ensemble).keys().isdisjoint({"test_accuracy", "test_low"})


def test_without_test_rows_figures_and_confusions_count_validation_rows(unopened):
    drawn = {**drawing.draw(unopened), **drawing.draw_alone(unopened)}
    assert "validation accuracy" in drawn["accuracy_intervals"].axes[0].get_xlabel()
    assert unopened.confusion(unopened.ensemble).sum() == len(unopened.y_valid)
    assert {"confusion_ensemble", "mistakes"} <= drawn.keys()
