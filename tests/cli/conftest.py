import contextlib
import io
import json
import shutil

import pytest
from places import furnish

from fmnist_bench.cli import main

STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 1e-1, log = true }\n'
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["bayes"]\n'


@pytest.fixture
def place(arena):
    arena("studies/bayes.toml", STUDY)
    return arena("benchmarks/tiny.toml", BENCHMARK).parent.parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory, empty_database):
    """The folder in which the small benchmark has run, and the events that the run printed as JSON."""
    files = {"studies/bayes.toml": STUDY, "benchmarks/tiny.toml": BENCHMARK}
    folder = furnish(tmp_path_factory.mktemp("finished"), empty_database, files)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        assert main(["run", "tiny", "--json"]) == 0
    return folder, [json.loads(line) for line in printed.getvalue().splitlines()]


@pytest.fixture
def again(finished, tmp_path, monkeypatch):
    """The same in a copy, for those who go on with it."""
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.chdir(copy)
    return copy
