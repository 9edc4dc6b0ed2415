"""ImageFeatures: the scikit-learn contract, and the histograms against their definition."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from fmnist_bench.models.features import KINDS, ImageFeatures, PrincipalComponents, hog


# cells of one pixel: the checks feed rows of any length, which are then images one pixel high
@parametrize_with_checks([*(ImageFeatures(kind, cell_size=1) for kind in KINDS), PrincipalComponents(2)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture
def rows():
    return np.random.default_rng(0).integers(0, 256, (5, 28 * 28), dtype=np.uint8)


def hog_by_definition(image, orientations, cell_size, contrast=60.0):
    """One vote at a time."""
    height, width, _ = image.shape
    cells = np.zeros((height // cell_size, width // cell_size, orientations))
    for r, c in np.ndindex(height, width):
        right = image[r, c + 1] - image[r, c - 1] if 0 < c < width - 1 else 0 * image[r, c]
        down = image[r + 1, c] - image[r - 1, c] if 0 < r < height - 1 else 0 * image[r, c]
        channel = np.hypot(down, right).argmax()
        angle = np.arctan2(down[channel], right[channel]) % (2 * np.pi) * orientations / (2 * np.pi)
        for i, j, k in np.ndindex(cells.shape):
            turn = abs(angle - k)
            near = [
                1 - abs(r + 0.5 - (i + 0.5) * cell_size) / cell_size,
                1 - abs(c + 0.5 - (j + 0.5) * cell_size) / cell_size,
                1 - min(turn, orientations - turn),
            ]
            share = np.prod(np.maximum(near, 0)) / cell_size**2
            cells[i, j, k] += share * np.hypot(down, right)[channel]
    return np.sqrt(cells / (cells.sum(axis=-1, keepdims=True) + contrast)).ravel()


@pytest.mark.parametrize(
    ("shape", "orientations", "cell_size"),
    [((8, 8, 1), 12, 4), ((9, 7, 1), 8, 3), ((8, 12, 3), 5, 4), ((4, 4, 1), 2, 1)],
)
def test_hog_equals_its_definition(shape, orientations, cell_size):
    images = np.random.default_rng(1).integers(0, 256, (3, *shape), dtype=np.uint8)
    expected = [hog_by_definition(image.astype(float), orientations, cell_size) for image in images]
    np.testing.assert_allclose(hog(images, orientations, cell_size), expected, atol=1e-5)


def test_hog_of_a_mirrored_image_is_the_mirrored_hog(rows):
    images = rows.reshape(-1, 28, 28, 1)
    cells, mirrored = (hog(x, 8, 4).reshape(-1, 7, 7, 8) for x in (images, images[:, :, ::-1]))
    turned = (4 - np.arange(8)) % 8  # an angle a becomes 180 degrees - a
    np.testing.assert_allclose(mirrored, cells[:, :, ::-1][..., turned], atol=1e-5)


def test_hog_of_a_flat_image_is_zero():
    assert not hog(np.full((1, 8, 8, 1), 200, np.uint8), 8, 4).any()


def test_bytes_become_features_from_0_to_1(rows):
    pixels, histograms, both = (ImageFeatures(kind).transform(rows) for kind in KINDS)
    np.testing.assert_array_equal(pixels, rows / np.float32(255))
    np.testing.assert_array_equal(both, np.hstack([pixels, histograms]))
    assert both.dtype == np.float32
    assert 0 <= both.min() < both.max() <= 1


def test_rows_are_independent(rows, monkeypatch):
    whole = ImageFeatures("hog").transform(rows)
    monkeypatch.setattr("fmnist_bench.models.features._BATCH", 2)
    np.testing.assert_allclose(ImageFeatures("hog").transform(rows), whole, rtol=1e-6)


def test_names_and_data_frames(rows):
    features = ImageFeatures("hog", orientations=8).set_output(transform="pandas").fit(rows)
    frame = features.transform(rows)
    assert list(frame.columns) == list(features.get_feature_names_out())
    assert frame.shape == (5, 7 * 7 * 8)


def test_stateless_cloned_and_pickled(rows):
    features = ImageFeatures("both", image_shape=(28, 28), cell_size=7)
    assert not get_tags(features).requires_fit
    expected = features.transform(rows)
    for copy in (clone(features), pickle.loads(pickle.dumps(features))):
        np.testing.assert_array_equal(copy.fit_transform(rows), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "sift"}, "kind='sift' is not one of pixels, hog, both"),
        ({"image_shape": (8, 8)}, "rows have 784 features"),
        ({"kind": "hog", "cell_size": 29}, "smaller than a cell"),
        ({"kind": "hog", "orientations": 1}, "orientations must be at least 2"),
        ({"kind": "hog", "cell_size": 0}, "cell_size at least 1"),
    ],
)
def test_mistakes_are_named_in_fit_and_transform(rows, arguments, message):
    for use in (ImageFeatures(**arguments).fit, ImageFeatures(**arguments).transform):
        with pytest.raises(ValueError, match=message):
            use(rows)


def test_principal_components_are_those_of_pca_or_all_there_are(rows):
    X = np.random.default_rng(1).normal(size=(50, 8))
    expected = PCA(3, svd_solver="covariance_eigh").fit_transform(X)
    assert np.array_equal(PrincipalComponents(3).fit_transform(X), expected)
    assert PrincipalComponents(100).fit_transform(X).shape == (50, 8)
    assert PrincipalComponents(100).fit(X).get_feature_names_out()[-1] == "principalcomponents7"


def test_directions_in_which_rows_do_not_vary_are_no_components():
    X = np.random.default_rng(1).uniform(0, 255, size=(50, 8)).astype(np.float32)
    X[:, 2], X[:, 5] = 255, (X[:, 0] + X[:, 1]) / 2  # an edge that is always white, and a mean of two others
    assert PrincipalComponents(8).fit_transform(X).shape == (50, 6)
    assert np.array_equal(PrincipalComponents(8).fit_transform(np.ones((50, 8))), np.zeros((50, 1)))


@pytest.mark.parametrize("n_components", [0, -1, 0.95, "mle", None, np.float64(3)])
def test_components_that_are_no_number_of_columns_are_refused(n_components):
    with pytest.raises(ValueError, match=r"n_components=.*: must be a whole number of at least 1"):
        PrincipalComponents(n_components).fit(np.eye(5))
    assert PrincipalComponents(np.int64(3)).set_output(transform="pandas").fit_transform(np.eye(5)).shape == (5, 3)
