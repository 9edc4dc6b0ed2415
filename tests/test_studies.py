"""What every shipped study must do, whatever it searches."""

import itertools
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from onnx_files import computed
from scenes import make_run
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from fmnist_bench.config.files import PACKAGE
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Engine, Study
from fmnist_bench.data.dataset import Split
from fmnist_bench.export.agreement import in_float32
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.search.loop import make_study_searches
from fmnist_bench.storage.results import PREPARATION, PREPARED, TrialResult

STUDIES = sorted(path.stem for path in (PACKAGE.parent / "studies").glob("*.toml"))
DOWNLOADED = {"resnet50", "convnext_tiny"}  # tests wait for no network: models/networks/test_transfer.py has them
LEARNERS = sorted(set(STUDIES) - DOWNLOADED)
HOLD_OUT = {"hist_gradient_boosting", "hog_svm", "linear_svm", "mlp", "xgboost"}  # or would, if the study let them
QUICK = {
    "epochs": 8,
    "filters": 16,
    "image_size": 32,
    "batch_size": 32,
    "n_estimators": 20,
    "max_iter": 5,
}  # where a study's own figure takes long


@pytest.fixture(scope="module")
def rows(digits):
    """Return every digit enlarged to 28 x 28: the data that the default configurations are made for."""
    small = digits.X.reshape(-1, 8, 8)[:500]
    large = np.kron(small, np.ones((1, 4, 4), dtype=np.uint8))[:, 2:-2, 2:-2]
    return large.reshape(len(large), -1), digits.y[:500], Split(np.arange(400), np.arange(400, 500))


def parameters_of(study, index=0):
    middle = {name: r.choices[0] if r.choices else r.low for name, r in study.ranges().items()}
    return {**middle, **study.space.defaults[index].parameters}


def make(study, index=0):
    return study.pipeline(parameters_of(study, index), facts={"random_state": 0})


def quick(pipeline):
    default = pipeline.get_params()
    return pipeline.set_params(
        **{f"model__{k}": min(v, default[f"model__{k}"] or v) for k, v in QUICK.items() if f"model__{k}" in default}
    )


def fitted(pipeline, rows):
    X, y, split = rows
    with threadpool_limits(1, "openmp"):  # threads that wait for each other stall where others use the processor
        return pipeline.fit(X[split.train], y[split.train], validation_data=(X[split.validation], y[split.validation]))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_starts_from_what_is_known_to_be_good(name):
    space = load_space(name)
    assert space.defaults, "a study needs a default configuration"
    study = Study(space)
    for index, default in enumerate(space.defaults):
        pipeline = clone(make(study, index))
        found = pipeline.get_params()
        for parameter, value in default.parameters.items():
            assert found[parameter] == value


@pytest.mark.parametrize("name", STUDIES)
def test_both_ends_of_every_range_build(name):
    study = Study(load_space(name))
    for end in ("low", "high"):
        ends = {n: r.choices[-(end == "high")] if r.choices else getattr(r, end) for n, r in study.ranges().items()}
        found = study.pipeline(ends).get_params()
        assert {name: found[name] for name in ends} == ends


def asked(space, folder, n=8):
    """Ask for the first trials of every study, told made up accuracies; return all parameters."""
    folder.mkdir()
    searches, found = make_study_searches(space.studies, make_run(folder), seed=7, thorough=True), []
    for number, search in itertools.product(range(n), searches):
        if (proposal := search.search(math.inf)) is None or (ask := search.ask(proposal)) is None:
            continue
        found.append((search.study.name, dict(ask.parameters)))
        ready = proposal.number == PREPARATION
        result = TrialResult(PREPARED) if ready else TrialResult("complete", "", 0.5 + number / 20, 1.0, 1.0)
        search.tell(replace(ask, result=result, seconds=1.0))
    return found


ENGINES = (Engine("optuna", "random"), Engine("keras-tuner", "bayesian"))
OTHERS = [pytest.param(name, engine, marks=pytest.mark.slow) for name in STUDIES if name != "knn" for engine in ENGINES]


@pytest.mark.parametrize(
    ("name", "engine"), [*((name, Engine()) for name in STUDIES), *(("knn", engine) for engine in ENGINES), *OTHERS]
)
def test_a_study_asks_the_same_again(name, engine, tmp_path):
    space = replace(load_space(name), engine=engine)
    half_open = replace(space.defaults[0], name="open", parameters=dict(list(space.defaults[0].parameters.items())[:1]))
    space = replace(space, defaults=(*space.defaults, half_open))
    first = asked(space, tmp_path / "first")
    assert first == asked(space, tmp_path / "second")
    assert len(first) >= 8 * len(space.studies) - 2


@pytest.mark.parametrize("name", LEARNERS)
def test_a_study_learns_predicts_repeats_is_saved_and_exported(name, rows, tmp_path):
    X, y, split = rows
    first = fitted(quick(make(Study(load_space(name)))), rows)
    probabilities = first.predict_proba(X[split.validation])
    assert probabilities.shape == (100, 10)
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-5
    assert first.score(X[split.validation], y[split.validation]) > 0.6

    second = fitted(quick(make(Study(load_space(name)))), rows)
    assert np.array_equal(second.predict_proba(X[split.validation]), probabilities)

    again = pickle.loads(pickle.dumps(first))
    assert np.allclose(again.predict_proba(X[split.validation]), probabilities, rtol=0, atol=1e-4)
    save_model(first, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert np.allclose(loaded.predict_proba(X[split.validation]), probabilities, rtol=0, atol=1e-4)
    exports(first, X[split.validation])


def exports(pipeline, X):
    """Compare the exported pipeline with the original, which rounds to bfloat16 on some machines."""
    assert np.abs(computed(pipeline, X) - in_float32(pipeline).predict_proba(X)).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name in LEARNERS for i in range(1, len(load_space(name).defaults))]
)
def test_every_default_configuration_exports(name, index, rows):
    exports(fitted(quick(make(Study(load_space(name)), index)), rows), rows[0])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in HOLD_OUT else pytest.mark.slow) for name in LEARNERS]
)
def test_a_study_learns_more_classes_than_it_could_hold_rows_out_for(name, rows):
    X, split = np.tile(rows[0], (2, 1)), Split(np.arange(900), np.arange(900, 1000))
    y = np.arange(1000) % 62
    y[0] = 62  # of this class there is one image
    few = split.part(0.2, y, seed=0)
    pipeline = fitted(quick(make(Study(load_space(name)))), (X, y, few))
    assert pipeline.predict_proba(X[:5]).shape == (5, 63)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 8), (16, 24)])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_study_runs_on_images_of_another_shape(name, shape, digits):
    images = digits.X[:400].reshape(400, 8, 8)
    X = np.tile(images, (1, shape[0] // 8, shape[1] // 8))
    rows = X, digits.y[:400], Split(np.arange(300), np.arange(300, 400))
    pipeline = fitted(quick(make(Study(load_space(name)))), rows)
    assert pipeline.predict_proba(X[:5]).shape == (5, 10)
