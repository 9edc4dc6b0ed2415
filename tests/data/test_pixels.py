import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.data.pixels import UNIT, WHITE, are_pixels, as_uint8, check_scale, decide_white, white_of
from fmnist_bench.pipeline import Pipeline

GRAYS = np.linspace(0, 1, 640).reshape(10, 8, 8)


def converted(images):
    return as_uint8(images, decide_white(images, "these"))


@pytest.mark.parametrize("largest", [1.0, 1.0000001, 1.0236, 1.09])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:.*cut off")
def test_fractions_a_little_above_one_keep_their_grays(largest, kind):
    assert len(np.unique(converted((GRAYS * largest).astype(kind)))) > 230


@pytest.mark.parametrize("largest", [1.2, 2.5, 31.0])
def test_fractions_on_no_scale_are_refused(largest):
    with pytest.raises(ValueError, match=f"these: pixels from 0 to {largest:g}; allowed: 0 to 255, or 0 to 1"):
        converted(GRAYS * largest)


def test_what_resizing_makes_of_images_is_cut_off_and_said_where_it_shows():
    for white in (UNIT, WHITE):
        images = white * (GRAYS * 1.1 - 0.05)
        with pytest.warns(UserWarning, match=f"cut off at 0 and {white:g}"):
            pixels = converted(images)
        assert (pixels.min(), pixels.max()) == (0, 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert converted(GRAYS - 1e-8).min() == 0
        assert converted(WHITE * GRAYS + 1e-6).max() == 255


@pytest.mark.parametrize(
    "other", [GRAYS * 2 - 1, GRAYS * 3.2 - 0.4, GRAYS * 4080, np.full((1, 4, 4), np.nan), np.full((1, 4, 4), -1)]
)
def test_other_scales_are_refused(other):
    with pytest.raises(ValueError, match="these: pixels from .* no NaN"):
        converted(other)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
@pytest.mark.filterwarnings("ignore:.*zeros and ones")
def test_zeros_and_ones_are_black_and_white(kind):
    pixels = converted(np.eye(4, dtype=kind)[np.newaxis])
    assert pixels.dtype == np.uint8 and np.array_equal(pixels[0], 255 * np.eye(4))


def test_whole_numbers_that_are_no_usual_pixels_are_told():
    with pytest.warns(UserWarning, match="zeros and ones alone are taken for black and white"):
        converted(np.eye(4, dtype=np.uint8)[np.newaxis])
    with pytest.warns(UserWarning, match="nearly black, the largest pixel is 9 of 255"):
        assert converted(np.full((1, 4, 4), 9)).max() == 9
    with pytest.warns(UserWarning, match="the largest pixel is 16 of 255"):
        converted(np.full((1, 4, 4), 16.0))
    assert decide_white(np.zeros((1, 4, 4)), "") == WHITE
    assert decide_white(np.zeros((1, 4, 4)), "", UNIT) == UNIT


@given(st.sampled_from([np.uint8, np.int32, np.float32, np.float64]), st.integers(32, 255), st.integers(0, 9))
def test_pixels_stay_what_they_are_and_come_back_from_the_unit_scale(kind, largest, seed):
    pixels = np.random.default_rng(seed).integers(0, largest + 1, (3, 5, 5)).astype(np.uint8)
    pixels[0, 0, :2] = largest, 7  # no zeros and ones alone
    assert np.array_equal(converted(pixels.astype(kind)), pixels)
    if kind in (np.float32, np.float64):
        assert np.array_equal(converted(pixels.astype(kind) / kind(255)), pixels)


def test_pixels_are_told_from_other_numbers():
    assert are_pixels(np.array([[0, 255], [3, 4]]))
    assert are_pixels(np.array([[0.0, 16.0]]))
    for other in ([[0.5, 3]], [[-1, 3]], [[0, 300]], [[0, 1]]):
        assert not are_pixels(np.array(other))


def test_rows_on_another_scale_than_those_of_fit_are_refused():
    rows = GRAYS.reshape(10, 64)
    for unit in (rows, rows * 1.0000002, rows > 0.5):
        with pytest.raises(ValueError, match="from 0 to 1: this model was fitted on pixels from 0 to 255"):
            check_scale(WHITE, unit)
    with pytest.raises(ValueError, match="from 0 to 255: this model was fitted on pixels from 0 to 1"):
        check_scale(UNIT, np.rint(rows * 255))
    for well in (rows * 255, np.rint(rows), np.zeros((3, 64)), rows[:, :4]):  # zeros and ones may be counts
        check_scale(WHITE, well)
    check_scale(None, rows)
    assert white_of(np.array([["a"]])) is None


def test_a_pipeline_refuses_the_other_scale(digits):
    from sklearn.linear_model import LogisticRegression

    for rows, other in ((digits.X[:300], digits.X[:5] / 255), (digits.X[:300] / 255, digits.X[:5])):
        model = Pipeline(LogisticRegression(max_iter=300)).fit(rows, digits.y[:300])
        model.predict(rows[:5])
        with pytest.raises(ValueError, match="this model was fitted on pixels"):
            model.predict(other)
