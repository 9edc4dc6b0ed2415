import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedShuffleSplit

from fmnist_bench.config.loader import load_space
from fmnist_bench.models.saved import is_trusted
from fmnist_bench.models.splits import HoldOut
from fmnist_bench.models.svm import SVC


@pytest.mark.parametrize("size", [0.05, 0.3, 100, None])
def test_it_is_scikit_learns_wherever_that_one_works(digits, size):
    ours, theirs = (kind(2, test_size=size, random_state=0) for kind in (HoldOut, StratifiedShuffleSplit))
    for mine, other in zip(ours.split(digits.X, digits.y), theirs.split(digits.X, digits.y), strict=True):
        for left, right in zip(mine, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_many_classes_of_few_rows_are_all_on_both_sides():
    y = np.r_[np.arange(992) % 62, 62]  # as in a sample of EMNIST by class, and one that is alone
    ((train, test),) = HoldOut(1, test_size=0.05, random_state=0).split(y, y)
    assert sorted([*train, *test]) == list(range(993))
    assert set(y[train]) == set(range(63)) and set(y[test]) == set(range(62))
    with pytest.raises(ValueError, match="should be greater"):
        next(StratifiedShuffleSplit(1, test_size=0.05).split(y[:-1], y[:-1]))


def test_a_model_of_many_classes_is_calibrated_on_it():
    y = np.arange(992) % 62
    rng = np.random.default_rng(0)
    X = rng.normal(size=(992, 20)) + 5 * rng.normal(size=(62, 20))[y]
    model = CalibratedClassifierCV(SVC(), method="temperature", cv=HoldOut(1, test_size=0.05, random_state=0))
    assert clone(model).fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("name", ["hog_svm", "linear_svm"])
def test_the_studies_that_calibrate_use_it(name):
    assert load_space(name).model.arguments["cv"].use == "fmnist_bench.models.HoldOut"
    assert is_trusted(f"{HoldOut.__module__}.HoldOut")
