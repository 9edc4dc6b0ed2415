"""Classic augmentation as a sampler; the changes to a batch themselves are tested with the networks."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from fmnist_bench.models.augmentation.classic import ClassicAugmentation
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.pipeline import Pipeline


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_changed_copies_are_appended(digits, ratio):
    X, y = digits.X[:100], digits.y[:100]
    rows, labels = ClassicAugmentation(ratio=ratio, random_state=0).fit_resample(X, y)
    assert len(rows) == len(labels) == 100 * (1 + ratio)
    assert rows.dtype == np.uint8
    assert np.array_equal(rows[:100], X)
    if ratio == 2:
        assert np.array_equal(np.bincount(labels), 3 * np.bincount(y))
    again, _ = ClassicAugmentation(ratio=ratio, random_state=0).fit_resample(X, y)
    assert np.array_equal(rows, again)


def test_each_change_is_the_one_asked_for(digits):
    image = np.zeros((10, 14), np.uint8)
    image[4, 5] = 200
    rows, y = np.tile(image.reshape(1, -1), (200, 1)), np.zeros(200)
    shape = {"image_shape": (10, 14), "random_state": 0}

    def places(**changes):
        copies, _ = ClassicAugmentation(**{"flip": False, "shift": 0, "erase": 0.0, **changes, **shape}).fit_resample(
            rows, y
        )
        return set(map(tuple, np.argwhere(copies[200:].reshape(-1, 10, 14))[:, 1:]))

    assert places() == {(4, 5)}
    assert places(flip=True) == {(4, 5), (4, 8)}
    assert places(shift=1) == {(row, column) for row in (3, 4, 5) for column in (4, 5, 6)}
    assert len(places(erase=1.0)) > 1


def test_ratio_nought_changes_nothing_and_mistakes_are_named(digits):
    X, y = ClassicAugmentation(ratio=0).fit_resample(digits.X, digits.y)
    assert np.array_equal(X, digits.X) and np.array_equal(y, digits.y)
    for mistake in ({"ratio": -1}, {"shift": -1}, {"erase": 1.5}):
        with pytest.raises(ValueError, match="must be at least 0"):
            ClassicAugmentation(**mistake).fit_resample(digits.X, digits.y)
    with pytest.raises(ValueError, match="rows have 64 features"):
        ClassicAugmentation(image_shape=(3, 3)).fit_resample(digits.X, digits.y)


def test_it_is_part_of_a_pipeline_that_can_be_saved(digits, tmp_path):
    pipeline = Pipeline(LogisticRegression(max_iter=500), augment=clone(ClassicAugmentation(flip=False, shift=1)))
    save_model(pipeline.fit(digits.X, digits.y), tmp_path / "model.skops")
    assert load_model(tmp_path / "model.skops").augment.shift == 1
