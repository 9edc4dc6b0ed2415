"""The networks as scikit-learn's own checks see them."""

import hypermodels
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench.models.cnn import CNNClassifier
from fmnist_bench.models.hypermodel import HyperModelClassifier
from fmnist_bench.models.transfer import TransferClassifier


def expected_failures(estimator):
    if isinstance(estimator, HyperModelClassifier):
        return {"check_no_attributes_set_in_init": "the names of hyperparameters are known to the HyperModel alone"}
    return {}


@pytest.mark.slow
@parametrize_with_checks(
    [
        TransferClassifier(weights=None, image_size=32, epochs=5, batch_size=32, random_state=0),
        HyperModelClassifier(hypermodels.Plain(), epochs=20, batch_size=16, divide_by=1.0, random_state=0),
        CNNClassifier(n_convs=1, filters=8, epochs=20, batch_size=16, flip=False, learning_rate=0.05, random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
