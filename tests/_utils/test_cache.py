import time

import numpy as np
import pytest

from fmnist_bench._utils import cache
from fmnist_bench._utils.cache import cached_array, seconds_saved
from fmnist_bench.data.pixels import as_rows, image_shape_of, shape_of_images


@pytest.fixture
def slow(monkeypatch):
    """Return a function that takes a while and counts its calls."""
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.05)
    calls = []

    def compute():
        time.sleep(0.1)
        calls.append(1)
        return np.arange(6.0)

    compute.calls = calls
    return compute


def test_what_is_slow_is_computed_once_and_its_seconds_are_known(slow, tmp_path):
    before = seconds_saved()
    first = cached_array(tmp_path / "new" / "a.npy", slow)
    assert seconds_saved() == before
    again = cached_array(tmp_path / "new" / "a.npy", slow)
    assert np.array_equal(first, again)
    assert len(slow.calls) == 1
    assert seconds_saved() - before >= 0.1


def test_what_is_fast_is_not_kept(tmp_path):
    assert cached_array(tmp_path / "a.npy", lambda: np.ones(3)).sum() == 3
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_costs_the_file_alone(slow, tmp_path):
    (tmp_path / "file").touch()
    assert cached_array(tmp_path / "file" / "a.npy", slow).sum() == 15


def test_images_become_rows_and_rows_stay():
    images = np.arange(24).reshape(2, 3, 4)
    assert as_rows(images).tolist() == as_rows(images[..., None]).tolist() == images.reshape(2, 12).tolist()
    rows = [[1, 2], [3, 4]]
    assert as_rows(rows) is rows


def test_channels_that_stand_first_are_refused():
    for shape in ((2, 1, 28, 28), (2, 3, 8, 8)):
        with pytest.raises(ValueError, match="channels must be last"):
            image_shape_of(np.zeros(shape))
    for shape in ((2, 28, 28, 1), (2, 3, 3, 3), (2, 1, 64, 3), (2, 4, 4, 4), (2, 28, 28)):
        assert image_shape_of(np.zeros(shape)) == shape[1:]


@pytest.mark.parametrize(
    ("n_features", "image_shape", "expected"),
    [(784, None, (28, 28, 1)), (12, None, (1, 12, 1)), (12, (3, 4), (3, 4, 1)), (12, [2, 2, 3], (2, 2, 3))],
)
def test_the_shape_of_images_is_given_or_likely(n_features, image_shape, expected):
    assert shape_of_images(n_features, image_shape) == expected
    with pytest.raises(ValueError, match=r"image_shape=\(5, 5\): rows have .* features"):
        shape_of_images(n_features, (5, 5))


def test_what_is_found_can_be_written_to_like_what_was_computed(slow, tmp_path):
    for _ in range(2):
        array = cached_array(tmp_path / "a.npy", slow)
        assert np.array_equal(array, np.arange(6.0)), "and writing to it changes no file"
        array /= 16
    assert len(slow.calls) == 1
