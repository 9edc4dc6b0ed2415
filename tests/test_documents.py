"""What the documents promise is what is run."""

import re
import tomllib
from pathlib import Path

from fmnist_bench.config.loader import find_files, load_benchmark, load_space

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
    for name in ("all", "smoke"):
        spaces = {space.name for space in load_benchmark(name).spaces}
        assert spaces == set(find_files("studies")), name


def test_shipped_files_travel_in_the_wheel():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in (ROOT / "benchmarks").glob("*.toml"):
        assert f"benchmarks/{path.name}" in wheel["force-include"]
    assert "studies" in wheel["force-include"]


def test_modules_stay_small_enough_to_hold_in_the_head():
    long = {p.name: n for p in (ROOT / "fmnist_bench").rglob("*.py") if (n := len(p.read_text().splitlines())) > 350}
    assert not long
