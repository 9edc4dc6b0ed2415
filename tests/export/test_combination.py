import json

import numpy as np
import onnx
import pytest
from onnx_files import run
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation

import fmnist_bench
from fmnist_bench import StackedEnsemble, export_onnx
from fmnist_bench._utils.errors import InputError
from fmnist_bench.export.combination import to_model
from fmnist_bench.models import ImageFeatures

MEMBERS = [
    ("logistic", make_pipeline(ImageFeatures("hog"), LogisticRegression(max_iter=50))),
    ("forest", RandomForestClassifier(5, random_state=0)),
    ("bayes", make_pipeline(StandardScaler(), GaussianNB(var_smoothing=0.1))),
]


@pytest.fixture(scope="module")
def images(digits):
    return digits.X.reshape(-1, 8, 8)


def fitted(images, y, members=MEMBERS, **how):
    return StackedEnsemble(members, random_state=0, **how).fit(images[:400], y[:400])


@pytest.mark.parametrize("method", ["greedy", "mean", "logistic"])
def test_an_ensemble_agrees_by_every_method(digits, images, method, tmp_path):
    ensemble = fitted(images, digits.y, method=method)
    found = export_onnx(ensemble, tmp_path / "e.onnx", images[400:])
    assert (found.rows, found.same_labels) == (1000, 1000)
    probabilities, labels = run(tmp_path / "e.onnx", images)
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(images), atol=1e-5)
    np.testing.assert_array_equal(labels, ensemble.predict(images))


def test_labels_may_be_words_and_their_names_are_in_the_file(digits, images, tmp_path):
    words = np.array(["zero", "one", "two"])[digits.y % 3]
    ensemble = fitted(images, words, method="mean")
    export_onnx(ensemble, tmp_path / "e.onnx", images[400:600])
    assert run(tmp_path / "e.onnx", images[:9])[1].tolist() == ensemble.predict(images[:9]).tolist()
    about = {each.key: each.value for each in onnx.load(tmp_path / "e.onnx").metadata_props}
    assert json.loads(about["class_names"]) == ["one", "two", "zero"]


def test_a_member_may_know_fewer_classes(digits, images):
    y = digits.y.copy()
    X = digits.X[:400]
    ensemble = StackedEnsemble(MEMBERS[:2], method="mean", random_state=0).fit(X, y[:400])
    few = y[:400] < 7
    ensemble.members_[1] = ("few", RandomForestClassifier(5, random_state=0).fit(X[few], y[:400][few]))
    probabilities, _ = run(to_model(ensemble).SerializeToString(), X)
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(X), atol=1e-5)


def test_the_file_takes_images_of_the_shape_that_was_fitted_on(digits, images, tmp_path):
    export_onnx(fitted(images, digits.y), tmp_path / "e.onnx", images[400:600])
    onnx.checker.check_model(onnx.load(tmp_path / "e.onnx"), full_check=True)
    (given,) = onnx.load(tmp_path / "e.onnx").graph.input
    assert [each.dim_value or each.dim_param for each in given.type.tensor_type.shape.dim] == ["n", 8, 8]


def test_what_cannot_be_exported_is_named_and_may_be_left_out(digits, images, tmp_path):
    members = [*MEMBERS, ("spread", LabelPropagation(gamma=0.01))]
    ensemble, path = fitted(images, digits.y, members, method="mean"), tmp_path / "e.onnx"
    with pytest.raises(InputError, match=r"member spread: LabelPropagation.*--drop spread"):
        export_onnx(ensemble, path, images[400:])
    assert not path.exists()
    assert export_onnx(ensemble, path, images[400:], drop=["spread"]).difference < 1e-4
    assert path.exists()


def test_no_file_is_left_where_the_probabilities_differ(digits, images, tmp_path):
    class Sure(GaussianNB):
        """Computes something else than what it derives from."""

        def predict_proba(self, X):
            return super().predict_proba(X).round()

    fmnist_bench.export.converts(f"{Sure.__module__}.{Sure.__qualname__}")(
        lambda g, model, x: g.op("Softmax", g.affine(g.cast(x, 1), np.ones((64, 10))), axis=1)
    )
    members = [MEMBERS[0], ("sure", Sure())]
    ensemble = fitted(images, digits.y, members, method="mean")
    with pytest.raises(InputError, match="not written.*most in member sure"):
        export_onnx(ensemble, tmp_path / "e.onnx", images[400:])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "drop, message",
    [
        (["forrest"], "no such member.*did you mean forest"),
        (["logistic", "forest", "bayes"], "no member would be left"),
    ],
)
def test_members_to_leave_out_are_checked(digits, images, tmp_path, drop, message):
    with pytest.raises(InputError, match=message):
        export_onnx(fitted(images, digits.y, method="mean"), tmp_path / "e.onnx", images, drop=drop)


def test_a_stacker_needs_all_members(digits, images, tmp_path):
    with pytest.raises(InputError, match="stacker"):
        export_onnx(fitted(images, digits.y, method="logistic"), tmp_path / "e.onnx", images, drop=["bayes"])


def test_an_ensemble_that_was_not_fitted_on_pixels_is_refused(digits, tmp_path):
    X = digits.X / 16
    ensemble = StackedEnsemble(MEMBERS[1:2], random_state=0).fit(X[:400], digits.y[:400])
    with pytest.raises(InputError, match="not fitted on pixels"):
        export_onnx(ensemble, tmp_path / "e.onnx", X)
