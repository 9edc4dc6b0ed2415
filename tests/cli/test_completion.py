"""What the tab key offers, asked as a shell asks."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def offered(again, tmp_path):
    """Return a function that gives what is offered at the end of a line, below a folder with a run of `tiny`."""

    def ask(line):
        told = tmp_path / "told"
        typed = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
        shell = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(told)}
        code = "from fmnist_bench.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **typed, **shell}, timeout=60)
        assert done.returncode == 0
        return {word.strip() for word in told.read_text().splitlines()}

    return ask


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fmnist-bench e", {"ensemble", "export"}),
        ("fmnist-bench run --bud", {"--budget"}),
        ("fmnist-bench run ti", {"tiny"}),
        ("fmnist-bench list baye", {"bayes"}),
        ("fmnist-bench run tiny --data pneu", {"pneumoniamnist"}),
        ("fmnist-bench run tiny --trials ", set()),
        ("fmnist-bench report --format la", {"latex"}),
        ("fmnist-bench ensemble tiny --studies cnn,baye", {"cnn,bayes"}),
        ("fmnist-bench check studies/ba", {"studies/bayes.toml"}),
    ],
)
def test_the_tab_key_offers_what_may_come_next(offered, line, words):
    assert offered(line) == words


def test_the_tab_key_offers_a_run_by_benchmark_and_by_folder(offered, again):
    (again / "mlruns").rename(again / "elsewhere")
    (folder,) = (again / "elsewhere" / "runs").iterdir()
    assert offered("fmnist-bench compare --mlruns elsewhere t") == {"tiny", folder.name}
