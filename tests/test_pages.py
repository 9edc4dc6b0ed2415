"""Every command and every block of Python in the documents does what they say.

A block runs in the order of its page, in one folder a page. A TOML or Python block whose first lines name a file
(``# studies/mine.toml``) is written there. A comment just above a block says why it is not run, or that it is slow.
A page that runs a benchmark is slow, too.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fmnist_bench.cli import main
from fmnist_bench.cli.program import make_parser

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "SKILL.md",
    *sorted(p for p in ROOT.glob("docs/**/*.md") if not p.parent.name.startswith("_")),
]
LISTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]  # their blocks are not run
BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
FILE = re.compile(r"(?:#:schema .*\n)?# (?P<file>[\w/]+\.(?:toml|py))\n")
A_RUN = re.compile(r"fmnist_bench run |run_benchmark\(")
LINE = re.compile(r"python -m fmnist_bench (?P<rest>[^>|&]*?)(?: > (?P<target>\S+))?(?P<any> \|\| true)?")
SCRIPT = re.compile(r"python (?P<script>benchmarks/\S+?\.py)(?P<rest>[^`;)#|]*)")
KEPT = ROOT / "benchmarks" / "_kept.py"
COMMAND = re.compile(r"python -m fmnist_bench (?P<rest>(?:\\\n|[^`\n#|>\")\]])*)")


@dataclass(frozen=True)
class Block:
    note: str
    language: str
    text: str

    @property
    def file(self) -> str:
        match = FILE.match(self.text)
        return match["file"] if match else ""

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python") and not self.file and not self.note

    @property
    def slow(self) -> bool:
        return self.note == "slow"


def blocks(page):
    return [Block(m["note"] or "", m["language"], m["text"]) for m in BLOCK.finditer(page.read_text())]


def pages_with(kind):
    return [a_page(page, kind) for page in PAGES if any(map(kind, blocks(page)))]


def a_page(page, kind):
    slow = any(kind(block) and A_RUN.search(block.text) for block in blocks(page))
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=[pytest.mark.slow] if slow else [])


def play(page, wanted, run_shell):
    """Write the files of a page and run what is wanted of it, from the first block to the last."""
    names = {}
    for block in blocks(page):
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text)
        elif wanted(block) and block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
        elif wanted(block) and block.language == "sh":
            run_shell(block.text)


def run_here(text):
    """Run commands of this program in this process, where everything is imported already."""
    for line in text.splitlines():
        command = LINE.fullmatch(line)
        with open(command["target"] or os.devnull, "w") as target, contextlib.redirect_stdout(target):
            assert main(shlex.split(command["rest"])) == 0 or command["any"], line


def run_in_shell(text):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", pages_with(lambda block: block.runs))
def test_a_page_does_what_it_says(page, arena):
    play(page, lambda block: block.runs, run_here)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(lambda block: block.slow))
def test_what_takes_minutes_does_what_it_says(page, arena):
    play(page, lambda block: block.slow, run_in_shell)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_are_well_formed(page):
    for block in blocks(page):
        assert not block.note or block.slow or block.note.startswith("not run: "), block.note
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "python":
            compile(block.text, str(page), "exec")
        if block.language == "yaml":
            assert all(yaml.safe_load_all(block.text))
    outside = BLOCK.sub("", page.read_text())
    assert not re.findall(r"^ {4,}(?:.*[$] +)?(?:python|pip|dask|mlflow|export) .*", outside, re.MULTILINE), "no block"


@pytest.mark.parametrize("page", LISTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_script_of_the_benchmarks_takes_what_is_said(page):
    for command in SCRIPT.finditer(page.read_text()):
        script = ROOT / command["script"]
        assert script.is_file(), command[0]
        text = "".join(path.read_text() for path in script.parent.glob("*.py")) + KEPT.read_text()
        for option in re.findall(r"(?<![\w-])--[a-z-]+", command["rest"]):
            assert f'"{option}"' in text, command[0]


@pytest.mark.parametrize("page", LISTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page):
    for command in COMMAND.finditer(page.read_text()):
        arguments = shlex.split(command["rest"].replace("\\\n", " "))
        if arguments and arguments[0] not in ("VERB", "..."):
            make_parser().parse_args(arguments)
