import contextlib
import io
import os
import shutil

import numpy as np
import pytest
from places import furnish

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.config.space import Spec
from fmnist_bench.config.study import SearchSpace, Study
from fmnist_bench.data.dataset import find_fashion_mnist, load_dataset, make_split
from fmnist_bench.storage.run_folder import Store
from fmnist_bench.storage.trial import Trial
from fmnist_bench.storage.trial_folder import Rows
from fmnist_bench.tracking.folder import settle
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.server import prepare

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def fashion_mnist():
    """Find or fetch Fashion-MNIST; return the folder of its files."""
    try:
        return find_fashion_mnist()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def split(digits):
    return make_split(digits.y, 0.2, 0)


@pytest.fixture
def make_job(digits, split, tmp_path):
    """Return a function that makes a job with one of the troublemakers."""
    prepare(["troublemakers.Trouble"], ("troublemakers",))
    rows = tmp_path / "rows"
    rows.mkdir()
    np.save(rows / "X.npy", digits.X)
    np.save(rows / "y.npy", digits.y)

    def make(kind, **limits):
        study = Study(SearchSpace("trouble", Spec("troublemakers.Trouble", {"kind": kind})))
        folder = tmp_path / "trials" / kind
        shared = {"seed": 0, "cache_dir": tmp_path / "cache", "allow_import": ("troublemakers",)}
        data = Rows(rows, digits.image_shape, tuple(digits.classes))
        return Job(study, Trial("trouble", 0), data, split, folder=folder, **shared, **limits)

    return make


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Return an MLflow database without experiments; making one takes seconds, so it is made once."""
    from mlflow import MlflowClient  # which no test without a run needs

    folder = tmp_path_factory.mktemp("database")
    MlflowClient(Store(folder).tracking_uri).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def arena(tmp_path, monkeypatch, empty_database):
    """Return a function that writes a file into an otherwise empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def no_figures(monkeypatch):
    """Let reports have no figures, where others of such a run have: they are most of what a short run costs."""
    for name in ("draw", "draw_alone"):
        monkeypatch.setattr(f"fmnist_bench.report.draw.{name}", lambda findings: {})


@pytest.fixture(scope="session")
def finished_benchmark(tmp_path_factory, empty_database):
    """Run a small benchmark on digits once; return its folder, and what it printed."""
    space = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-3, high = 1e-1, log = true }\n'
    benchmark = 'data = "digits"\nvalid_size = 0.2\ntrials = 2\nstudies = ["bayes"]\n'
    files = {"studies/bayes.toml": space, "benchmarks/all.toml": benchmark}
    folder = furnish(tmp_path_factory.mktemp("finished"), empty_database, files)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        assert main(["run", "all"]) == 0
    return folder, printed.getvalue()


@pytest.fixture
def small_benchmark(arena, tmp_path, finished_benchmark):
    """Copy the small benchmark that has run into the working directory; return its results, and what it printed."""
    folder, printed = finished_benchmark
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    settle(tmp_path / "mlruns" / "mlflow.db")
    return tmp_path / "mlruns", printed
