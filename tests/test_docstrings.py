"""The examples of the docstrings do what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(ROOT.glob("fmnist_bench/**/*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_do_what_they_say(module):
    found = doctest.testmod(importlib.import_module(module))
    assert (found.failed, found.attempted > 0) == (0, True)


def test_there_are_examples_of_what_people_import():
    assert {"fmnist_bench.data.dataset", "fmnist_bench.ensemble.estimator", "fmnist_bench.models.networks.cnn"} <= set(
        MODULES
    )
