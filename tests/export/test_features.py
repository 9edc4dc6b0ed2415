import numpy as np
import pytest
from onnx_files import computed
from sklearn.preprocessing import StandardScaler

from fmnist_bench.models import ImageFeatures, PrincipalComponents


def images(shape, n=60):
    """Random bytes, flat areas and gentle slopes."""
    generator = np.random.default_rng(0)
    X = generator.integers(0, 256, (n, *shape), dtype=np.uint8)
    X[: n // 3] //= 60
    X[n // 3 : n // 2] = 7
    return X.reshape(n, -1)


@pytest.mark.parametrize("kind, tolerance", [("pixels", 0.0), ("hog", 1e-6), ("both", 1e-6)])
def test_features_are_those_of_the_package(kind, tolerance):
    X = images((28, 28))  # how NumPy's products of matrices are rounded depends on the processor
    features = ImageFeatures(kind).fit(X)
    np.testing.assert_allclose(computed(features, X, "transform"), features.transform(X), rtol=0, atol=tolerance)


@pytest.mark.parametrize("orientations, cell_size", [(2, 3), (8, 5), (9, 4), (16, 3), (12, 7)])
def test_histograms_agree_for_any_bins_and_cells(orientations, cell_size):
    X = images((28, 28))
    features = ImageFeatures("hog", orientations=orientations, cell_size=cell_size).fit(X)
    np.testing.assert_allclose(computed(features, X, "transform"), features.transform(X), atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 12, 3), (8, 8), (2, 9)])
def test_histograms_agree_for_colour_and_small_images(shape):
    X = images(shape)
    features = ImageFeatures("hog", image_shape=shape, cell_size=2).fit(X)
    np.testing.assert_allclose(computed(features, X, "transform"), features.transform(X), atol=1e-6)


def test_principal_components_agree_bit_for_bit_and_scalers_nearly(digits):
    X = digits.X.astype(np.float32)
    components = PrincipalComponents(20).fit(X)
    np.testing.assert_array_equal(computed(components, X, "transform"), components.transform(X))
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(computed(scaler, X, "transform"), scaler.transform(X), rtol=1e-5, atol=1e-5)
