import numpy as np
import pytest
from onnx_files import computed
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from fmnist_bench.export.registry import NotExportableError
from fmnist_bench.models import SVC


@pytest.fixture(scope="module")
def rows(digits):
    return digits.X[:600].astype(np.float32), digits.y[:600]


def check(model, rows, classes=None, atol=1e-5):
    X, y = rows
    kept = slice(None) if classes is None else y < classes
    model.fit(X[kept][:400], y[kept][:400])
    np.testing.assert_allclose(computed(model, X[400:]), model.predict_proba(X[400:]), atol=atol)


@pytest.mark.parametrize("classes", [None, 2])
def test_logistic_regression_agrees(rows, classes):
    check(LogisticRegression(max_iter=50), rows, classes)


@pytest.mark.parametrize("classes", [None, 2])
@pytest.mark.parametrize("method", ["temperature", "sigmoid"])
def test_calibrated_linear_svm_agrees(rows, classes, method):
    check(CalibratedClassifierCV(LinearSVC(dual=False), method=method, cv=2), rows, classes)


@pytest.mark.parametrize("classes", [None, 2])
def test_calibrated_svm_agrees(rows, classes):
    check(CalibratedClassifierCV(SVC(gamma=1e-3), method="temperature", cv=2), rows, classes)


@pytest.mark.parametrize("classes", [None, 2])
def test_perceptron_and_bayes_agree_by_skl2onnx(rows, classes):
    check(MLPClassifier((32,), max_iter=5), rows, classes)
    check(GaussianNB(var_smoothing=0.01), rows, classes, atol=1e-4)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_nearest_neighbours_agree(rows, metric, weights):
    X, y = rows
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)  # no ties
    check(KNeighborsClassifier(7, metric=metric, weights=weights), (X + noise, y))


def test_a_train_row_is_its_own_neighbour(rows):
    X, y = rows
    model = KNeighborsClassifier(5, weights="distance").fit(X, y)
    np.testing.assert_allclose(computed(model, X[:50]), np.eye(10)[y[:50]], atol=1e-6)


def test_a_kernel_without_converter_is_named(rows):
    X, y = rows
    model = CalibratedClassifierCV(SVC(kernel="poly"), method="temperature", cv=2).fit(X, y)
    with pytest.raises(NotExportableError, match="poly"):
        computed(model, X)


def test_a_class_that_nobody_knows_is_named(rows):
    class Mine(LogisticRegression):
        predict_proba = None

    from sklearn.semi_supervised import LabelPropagation

    with pytest.raises(NotExportableError, match="LabelPropagation"):
        computed(LabelPropagation().fit(*rows), rows[0])
