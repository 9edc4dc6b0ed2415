"""The report and MLflow's pages in a real browser; console errors fail a test, screenshots stay in ``screenshots/``."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from PIL import Image

from fmnist_bench import run_benchmark
from fmnist_bench.progress.displays import Progress
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.tracking.servers import first_page

pytestmark = pytest.mark.browser
# Its pages ask their server who is logged in, which it does not know, and lay charts out in more than one go.
NOISE_OF_MLFLOW = ("/mlflow/users/current", "ResizeObserver loop completed")
SCREENSHOTS = Path(__file__).parent.parent / "screenshots"
STUDIES = {
    "boosted": '[model]\nuse = "fmnist_bench.models.XGBoostClassifier"\nn_estimators = 30\n'
    "max_depth = { low = 2, high = 4 }\nlearning_rate = { low = 0.1, high = 0.5, log = true }\n",
    "bayes": '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\n'
    "var_smoothing = { low = 1e-9, high = 1e-1, log = true }\n"
    '[augment]\nuse = "fmnist_bench.models.ClassicAugmentation"\nflip = false\nshift = 1\n',
    "broken": '[model]\nuse = "sklearn.neighbors.KNeighborsClassifier"\n'
    "n_neighbors = { low = 100000, high = 100005 }\n",
}
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = 5\nstudies = ["boosted", "bayes", "broken"]\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run on digits: curves, an augmentation, a study whose trials fail, an ensemble, mistakes."""
    folder = tmp_path_factory.mktemp("browser")
    for path, text in {**{f"studies/{n}.toml": t for n, t in STUDIES.items()}, "benchmarks/b.toml": BENCHMARK}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_benchmark("b", progress=Progress())
        return open_folder(newest_run("b", "mlruns"))


@pytest.fixture(scope="module")
def mlflow_ui(run):
    """Start the MLflow UI as a user does; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "fmnist_bench", "ui", "--mlruns", str(run.store.folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(address, process):
    while process.poll() is None:
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the MLflow UI ended with exit status {process.returncode}")


@pytest.fixture(scope="module")
def chromium():
    """Return a browser: Debian's, since a machine of CI may reach no other."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's package chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, request):
    """Return a function that opens an address; no console error, nothing from the network, a screenshot at the end."""
    pages, errors = [], []
    outside = []

    def watch(route):
        local = route.request.url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:"))
        outside.extend([] if local else [route.request.url])
        (route.continue_ if local else route.abort)()

    def complain(text):
        errors.extend([] if any(noise in text for noise in NOISE_OF_MLFLOW) else [text])

    def listen(message):
        if message.type == "error":
            complain(f"{message.text} ({message.location['url']})")

    def open_page(address, **options):
        page = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}).new_page()
        page.set_default_timeout(300_000)  # ms; how fast pages are is not what is tested
        page.route("**/*", watch)
        page.on("console", listen)
        page.on("pageerror", lambda error: complain(str(error)))
        page.goto(address)
        pages.append(page)
        return page

    open_page.outside = outside
    yield open_page
    SCREENSHOTS.mkdir(exist_ok=True)
    for number, page in enumerate(pages):
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}-{number}.png", full_page=True)
        page.context.close()
    assert errors == []


@pytest.fixture(scope="module")
def report(run):
    return (run.folder / "report.html").as_uri()


def test_the_report_opens_from_disk_without_the_network(open_page, report):
    page = open_page(report)
    assert page.locator("#answer .lead").inner_text().startswith(("ensemble", "boosted", "bayes"))
    assert open_page.outside == []
    assert page.locator(".mistakes img").count() > 0
    assert page.locator(".mistakes .pair svg").count() > 0
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_accessible_in_both_colour_schemes(open_page, report, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra `browser`")
    page = open_page(report, color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    results = axe.Axe().run(page)
    found = [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in results.response["violations"]]
    assert found == []


def test_the_report_links_to_its_figures_as_files(open_page, report, run):
    links = open_page(report).locator("a[href^=figures]")
    files = {unquote(links.nth(n).get_attribute("href")) for n in range(links.count())}
    assert {"figures/anytime.svg", "figures/occlusion.csv", "figures/mistakes.png"} <= files
    assert not {file for file in files if not (run.folder / file).is_file()}


def test_figures_take_the_colours_of_the_scheme(open_page, report):
    looks = "getComputedStyle(document.querySelector('.chart svg text')).fill + getComputedStyle(document.body).color"
    light, dark = (open_page(report, color_scheme=scheme).evaluate(looks) for scheme in ("light", "dark"))
    assert light != dark


def test_the_report_fits_a_phone(open_page, report):
    page = open_page(report, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    figures = page.locator(".chart svg >> visible=true")
    assert figures.count() > 0
    assert all(figures.nth(n).bounding_box()["width"] <= 390 for n in range(figures.count()))


@pytest.mark.parametrize("width", [390, 1200])
def test_the_text_of_figures_is_large_enough_to_read(open_page, report, width):
    page = open_page(report, viewport={"width": width, "height": 844})
    heights = "[...document.querySelectorAll('.chart svg text')].map(one => one.getBoundingClientRect().height)"
    assert min(height for height in page.evaluate(heights) if height) >= 9


def test_the_leaderboard_is_sorted_by_keyboard_alone(open_page, report):
    page = open_page(report)
    table = page.locator("#leaderboard table").first
    head = table.get_by_role("columnheader", name="Test accuracy, %")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    shown = [cell for cell in table.locator("tbody tr td:nth-child(2)").all_inner_texts() if cell != "–"]
    assert [float(cell) for cell in shown] == sorted(map(float, shown))
    assert table.locator("tbody tr").last.inner_text().startswith("broken")  # what has no score stands last


def test_links_lead_to_their_sections_and_details_open_by_keyboard(open_page, report):
    page = open_page(report)
    page.get_by_role("link", name="Failures").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#failures"
    assert "n_neighbors" in page.locator("#failures").inner_text()
    summary = page.locator("summary", has_text="Every trial")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("table", name="Every trial").is_visible()


def test_every_trial_is_a_line_and_those_of_one_study_can_be_shown(open_page, report):
    page = open_page(report)
    page.locator("summary", has_text="Every trial").click()
    rows = page.get_by_role("table", name="Every trial").locator("tbody tr")
    studies = rows.locator("th").all_inner_texts()
    heights = rows.evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert max(heights) < 1.5 * min(heights)
    page.get_by_role("combobox", name="Study:").select_option(studies[0])
    shown = [row.locator("th").inner_text() for row in rows.all() if row.is_visible()]
    assert shown == [study for study in studies if study == studies[0]] and len(shown) < len(studies)


@pytest.fixture(scope="module")
def client(run):
    return MlflowClient(run.store.tracking_uri)


@pytest.fixture(scope="module")
def experiment(client, mlflow_ui):
    """Return the number of the experiment, and its address in the UI."""
    number = client.get_experiment_by_name("b").experiment_id
    return number, f"{mlflow_ui}/#/experiments/{number}"


@pytest.fixture(scope="module")
def artifacts(experiment, run):
    return f"{experiment[1]}/runs/{run.state['mlflow_run']}/artifacts"


def test_mlflow_lists_the_runs_of_the_experiment(open_page, experiment):
    page = open_page(f"{experiment[1]}/runs")
    page.get_by_role("row").get_by_role("link", name="b", exact=True).first.wait_for()


def test_the_address_that_is_printed_leads_to_the_best_trials_by_accuracy(open_page, mlflow_ui, run):
    page = open_page(f"{mlflow_ui}/{first_page(run.store.folder)}")
    page.get_by_role("link", name="Runs", exact=True).first.wait_for()  # of models: there is no such one for agents
    page.get_by_text("valid_accuracy", exact=True).first.wait_for()
    listed = page.get_by_role("row").get_by_role("link")
    listed.first.wait_for()
    assert {name.split()[0] for name in listed.all_inner_texts()} == {"boosted", "bayes", "bayes+classic"}


def test_the_experiment_says_what_it_is_and_where_the_report_is(open_page, experiment):
    page = open_page(f"{experiment[1]}/runs")
    page.get_by_text("a benchmark of fmnist_bench").first.wait_for()
    _popup(page, "Report").frame_locator("iframe").first.locator("#answer .lead").wait_for()


@pytest.mark.parametrize(
    ("link", "studies"),
    [
        ("best trial of each study", {"boosted", "bayes", "bayes+classic"}),
        ("all trials", {"boosted", "bayes", "bayes+classic", "broken"}),
        ("those that failed", {"broken"}),
    ],
)
def test_the_experiment_leads_to_lists_of_trials(open_page, experiment, link, studies):
    listed = _popup(open_page(f"{experiment[1]}/runs"), link).get_by_role("row").get_by_role("link")
    listed.first.wait_for()
    assert {name.split()[0] for name in listed.all_inner_texts()} == studies


def _popup(page, link):
    """Follow a link of a description: MLflow opens it in a tab of its own."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name=link, exact=True).first.click()
    return opened.value


def test_a_runs_page_names_the_rows_that_it_learnt_from(open_page, experiment, run):
    page = open_page(f"{experiment[1]}/runs/{run.state['mlflow_run']}")
    page.get_by_text("digits training").first.wait_for()
    page.get_by_text("+1", exact=True).first.click()  # the others are folded away
    page.get_by_text("digits validation").first.wait_for()


def test_a_trials_page_shows_its_curve(open_page, client, experiment):
    number, address = experiment
    trial = client.search_runs([number], "tags.study = 'boosted' and tags.level = 'trial'")[0].info.run_id
    page = open_page(f"{address}/runs/{trial}/model-metrics")
    page.get_by_text("curve_valid_accuracy").first.wait_for()
    page.locator(".js-plotly-plot .trace").first.wait_for()


def test_the_report_opens_from_mlflows_artifacts(open_page, artifacts):
    page = open_page(f"{artifacts}/report.html")
    frame = page.frame_locator("iframe").first
    frame.locator("#answer .lead").wait_for()
    head = frame.get_by_role("columnheader", name="Test accuracy, %").first
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"


def test_the_figures_are_artifacts_too(open_page, artifacts):
    page = open_page(f"{artifacts}/figures/anytime.svg")
    picture = page.get_by_role("img", name="figures/anytime.svg")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 300


def test_a_picture_is_taken_of_what_tells_a_report(chromium, run, tmp_path):
    script = Path(__file__).parents[1] / "benchmarks" / "whole_runs" / "picture.py"
    subprocess.run([sys.executable, script, run.folder / "report.html", tmp_path / "report.png"], check=True)
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width == 1280 and picture.height > 900
