"""Support vector machine: the margins of libsvm, scores that are likelihoods, scikit-learn's rules."""

import numpy as np
import pytest
import skops.io
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn import svm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench.models.svm import SVC


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    return X[:1000], y[:1000], X[1000:], y[1000:]


LIBSVM = (
    "libsvm's solver stops where rounding lets it, so weights are not quite repeated rows; scikit-learn's own fails"
)


def expected_failures(estimator):
    return {f"check_sample_weight_equivalence_on_{kind}_data": LIBSVM for kind in ("dense", "sparse")}


@parametrize_with_checks([SVC()], expected_failed_checks=expected_failures)
def test_keeps_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


def test_scores_come_from_the_margins_of_libsvm(digits):
    X, y, X_test, _ = digits
    model = SVC(C=5, gamma=0.3).fit(X, y)
    margins = svm.SVC(C=5, gamma=0.3, decision_function_shape="ovo").fit(X, y).decision_function(X_test)
    np.testing.assert_allclose(model._margins(X_test), margins, atol=1e-9)
    third = np.prod([expit(4 * m) for m in (-margins[:, 1], -margins[:, 9], *margins[:, 17:24].T)], axis=0)
    np.testing.assert_allclose(np.exp(model.decision_function(X_test)[:, 2]), third, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [{"kernel": "linear"}, {"break_ties": True}, {"decision_function_shape": "ovo"}],
    ids=str,
)
def test_other_settings_are_those_of_scikit_learn(digits, settings):
    X, y, X_test, _ = digits
    mine, theirs = SVC(**settings).fit(X, y), svm.SVC(**settings).fit(X, y)
    np.testing.assert_array_equal(mine.decision_function(X_test), theirs.decision_function(X_test))
    np.testing.assert_array_equal(mine.predict(X_test), theirs.predict(X_test))


def test_two_classes_and_sparse_rows_are_those_of_scikit_learn(digits):
    X, y, X_test, _ = digits
    two = y < 2
    expected = svm.SVC().fit(X[two], y[two]).decision_function(X_test)
    np.testing.assert_array_equal(SVC().fit(X[two], y[two]).decision_function(X_test), expected)
    sparse = SVC().fit(csr_matrix(X), y)
    np.testing.assert_array_equal(sparse.predict(csr_matrix(X_test)), svm.SVC().fit(X, y).predict(X_test))


def test_labels_and_likelihoods_are_at_least_as_good(digits):
    X, y, X_test, y_test = digits
    names = np.array(list("abcdefghij"))
    losses, accuracies = [], []
    for base in (SVC(gamma=0.1), svm.SVC(gamma=0.1)):
        model = CalibratedClassifierCV(base, method="temperature", cv=3).fit(X, names[y])
        losses.append(log_loss(names[y_test], model.predict_proba(X_test)))
        accuracies.append(model.score(X_test, names[y_test]))
    assert losses[0] < 0.9 * losses[1]
    assert accuracies[0] >= accuracies[1] - 0.005


def test_skops_is_exact(digits):
    model = SVC().fit(*digits[:2])
    content = skops.io.dumps(model)
    untrusted = skops.io.get_untrusted_types(data=content)
    assert untrusted == ["fmnist_bench.models.svm.SVC"]
    np.testing.assert_array_equal(
        skops.io.loads(content, trusted=untrusted).decision_function(digits[2]), model.decision_function(digits[2])
    )
