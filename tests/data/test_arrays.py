"""Arrays in memory as a data set."""

import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.arrays import Scale, dataset_of

WORDS = np.array(["no", "yes"])


@pytest.mark.parametrize("n", [9, 11, 0])
def test_there_is_one_label_a_row(n):
    with pytest.raises(InputError, match=f"y: {n} labels for the 10 rows of X"):
        dataset_of(np.zeros((10, 16), np.uint8), WORDS[np.zeros(n, int)], WORDS)


def test_the_array_of_the_caller_stays_writeable_and_the_data_set_is_not():
    X = np.zeros((4, 16), np.uint8)
    dataset = dataset_of(X, WORDS[[0, 1, 0, 1]], WORDS)
    X[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        dataset.X[0] = 1


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_images_are_gray_or_have_three_colours(channels):
    with pytest.raises(InputError, match=f"images of {channels} channels; allowed: 1, gray, or 3"):
        dataset_of(np.zeros((2, 16 * channels), np.uint8), WORDS, WORDS, (4, 4, channels))
    assert dataset_of(np.zeros((2, 48), np.uint8), WORDS, WORDS, (4, 4, 3)).image_shape == (4, 4, 3)
    assert dataset_of(np.zeros((2, 16), np.uint8), WORDS, WORDS, (4, 4, 1)).image_shape == (4, 4)


@pytest.mark.parametrize("kind", [int, np.int16, float])
def test_what_lies_beyond_the_scale_is_cut_off(kind):
    assert Scale(0, 255).pixels(np.array([[-1, 0, 7, 255, 300]], kind)).tolist() == [[0, 0, 7, 255, 255]]
    assert Scale(0, 1).pixels(np.array([[-1, 0, 1, 5]], kind)).tolist() == [[0, 0, 255, 255]]
    assert Scale(-2, 2).pixels(np.array([[-5, -2, 2, 5]], kind)).tolist() == [[0, 0, 255, 255]]


def test_bytes_beyond_zero_and_one_are_white():
    assert Scale(0, 1).pixels(np.array([[0, 1, 5]], np.uint8)).tolist() == [[0, 255, 255]]
    assert Scale(0, 255).pixels(np.array([[-3, 127]], np.int8)).tolist() == [[0, 127]]
