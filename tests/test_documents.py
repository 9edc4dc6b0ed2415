"""What the documents promise is what is run."""

import re
import tomllib
from pathlib import Path

import pytest

import fmnist_bench
from fmnist_bench.config.fidelity import LEAST_IMAGES, LEAST_ROWS
from fmnist_bench.config.files import find_files
from fmnist_bench.config.loader import load_space, load_suite
from fmnist_bench.config.study import END_SECONDS, MOST_VALIDATION, EnsembleConfig
from fmnist_bench.report.occlusion import MOST_ROWS
from fmnist_bench.search import allocation, phases, plan, successive_halving, teaching, training
from fmnist_bench.search.study import STALE
from fmnist_bench.storage.results import STATUSES
from fmnist_bench.trials import local
from fmnist_bench.trials.fine_tuning import SHARE

ROOT = Path(__file__).parent.parent


def test_ci_runs_readmes_test_command_to_the_letter():
    commands = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    test_command = next(command for command in commands if "pytest" in command)
    assert test_command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_study_in_the_readme_is_one(tmp_path):
    text = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    (tmp_path / "my_forest.toml").write_text(text)
    assert load_space(str(tmp_path / "my_forest.toml")).defaults


def test_every_study_is_in_the_benchmarks():
    for name in ("all", "smoke", "suite"):
        spaces = {space.name for space in load_suite(name).benchmark.spaces}
        assert spaces == set(find_files("studies")), name


def test_shipped_files_travel_in_the_wheel():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in (ROOT / "benchmarks").glob("*.toml"):
        assert f"benchmarks/{path.name}" in wheel["force-include"]
    assert "studies" in wheel["force-include"]


def test_modules_stay_small_enough_to_hold_in_the_head():
    long = {p.name: n for p in (ROOT / "fmnist_bench").rglob("*.py") if (n := len(p.read_text().splitlines())) > 350}
    assert not long


NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PARTS = {0.75: "three quarters", 0.6: "three fifths"}
TENS = {15.0: "fifteen", 30.0: "thirty"}
SAID = [
    ("explanation/budget.md", f"Some time is kept for the end: {END_SECONDS:g} s"),
    ("explanation/budget.md", f"{MOST_ROWS} copies with hidden patches"),
    ("explanation/budget.md", f"{plan.BOX_SHARE:.0%} of the time and at least {plan.LEAST_BOX:g} s".replace("%", " %")),
    ("explanation/budget.md", f"Look and search have {plan.SEARCH_SHARE:.0%} of the first".replace("%", " %")),
    ("explanation/budget.md", f"and {plan.LATER_SHARE:.0%} of the time beyond it".replace("%", " %")),
    ("explanation/budget.md", f"after {PARTS[1 - SHARE]} of its time"),
    ("explanation/budget.md", f"fewer than {LEAST_ROWS} rows of a class"),
    ("explanation/budget.md", f"fewer than {LEAST_IMAGES:,} images"),
    ("explanation/budget.md", f"{PARTS[plan.LEAST_EPOCHS]} of an epoch of all rows fit"),
    ("explanation/budget.md", f"(where an epoch takes 90 s, from {plan.minutes_for_augmentation(90.0)} minutes up)"),
    ("explanation/budget.md", f"as the power {successive_halving.GAIN:g} of rows"),
    ("explanation/budget.md", f"whose last {NUMBERS[STALE]} trials gained nothing"),
    ("explanation/budget.md", f"would get fewer than {TENS[plan.ENOUGH_EPOCHS]} epochs each"),
    ("explanation/budget.md", f"where each still gets {TENS[plan.MANY_EPOCHS]}"),
    ("explanation/budget.md", f"gets {NUMBERS[round(10 * (1 - allocation.RATIO))]} tenths of the time"),
    ("explanation/budget.md", f"at least {phases.LEAST_LIMIT:g} s and as long as the search lasts"),
    ("explanation/budget.md", f"Idleness: {local.STALL:g} s"),
    ("how-to/distill.md", f"Each needs at least {teaching.LEAST_SECONDS:g} s of its own"),
    ("reference/events.md", f"did nothing for {local.STALL:g} s"),
    ("explanation/ensemble.md", f"After {EnsembleConfig.max_steps} steps"),
]


@pytest.mark.parametrize(("page", "sentence"), SAID)
def test_a_number_in_a_page_is_that_of_the_code(page, sentence):
    assert sentence in " ".join((ROOT / "docs" / page).read_text().split())


def test_points_of_accuracy_in_the_pages_are_those_of_the_code():
    assert (training.CLOSE, training.WITH_AUGMENTATION, MOST_VALIDATION) == (0.01, 0.005, 5000)
    text = " ".join((ROOT / "docs/explanation/budget.md").read_text().split())
    assert "other architectures within one point of it" in text and "where it gained half a point" in text


def test_the_pages_name_every_status_and_every_public_name():
    events = (ROOT / "docs/reference/events.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", events, re.MULTILINE)[: len(STATUSES)] == list(STATUSES)
    python = (ROOT / "docs/reference/python.md").read_text()
    assert not [name for name in fmnist_bench.__all__ if name[0] != "_" and not re.search(rf"[.`]{name}\b", python)]
