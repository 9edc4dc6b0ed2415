"""Where a model looked: by hiding patches, and by nothing else of the model than its probabilities."""

import numpy as np
import pytest

from fmnist_bench.report.occlusion import falls, hidden


def looks_at(patch):
    """A model that says class 1 by the brightness of one patch alone."""

    def predict_proba(X):
        bright = X[(slice(None), *patch)].reshape(len(X), -1).mean(axis=1) / 255
        return np.column_stack([1 - bright, bright])

    return predict_proba


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (30, 17)])
def test_the_map_is_zero_but_where_the_model_looks(shape):
    image = np.random.default_rng(0).integers(100, 256, shape, np.uint8)
    image[[0, -1]] = image[:, [0, -1]] = 0
    rows, columns = (np.linspace(0, length, 8).round().astype(int) for length in shape[:2])
    model = looks_at((slice(rows[2], rows[3]), slice(columns[4], columns[5])))
    before = model(image[None])[0, 1]
    found = falls(before, model(hidden(image))[:, 1], shape)
    expected = np.zeros((7, 7))
    expected[2, 4] = before
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_each_pixel_is_hidden_once_under_the_colour_of_the_edge():
    image = np.full((28, 28, 3), (10, 20, 30), np.uint8)
    image[1:-1, 1:-1] = 200
    copies = hidden(image)
    changed = (copies != image).any(axis=-1)
    assert copies.shape == (49, 28, 28, 3)
    assert changed.sum(axis=0)[1:-1, 1:-1].tolist() == np.ones((26, 26), int).tolist()
    assert np.unique(copies[changed], axis=0).tolist() == [[10, 20, 30]]


def test_a_picture_smaller_than_the_grid_has_a_patch_a_pixel():
    assert hidden(np.zeros((3, 9), np.uint8)).shape == (21, 3, 9)
    assert falls(0.5, np.zeros(21), (3, 9)).shape == (3, 7)


def test_a_patch_that_speaks_against_the_class_has_a_negative_fall():
    assert falls(0.5, np.full(49, 0.75), (28, 28)).tolist() == np.full((7, 7), -0.25).tolist()
