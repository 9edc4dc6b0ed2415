"""Features of images: scikit-learn transformers over rows of pixels."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils import Tags, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist_bench._utils.stage_progress import in_parts
from fmnist_bench.data.pixels import shape_of_images

KINDS = ("pixels", "hog", "both")
_ROUNDING = 1e-6  # of the largest variance; components below it are rounding of float32
_BATCH = 256  # images a step: bounds the memory
_CONTRAST = 60.0  # mean gradient, in gray levels, below which a cell fades instead of showing its noise


class ImageFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn rows of pixels into float32 features: scaled pixels, gradient histograms, or both.

    Histograms of oriented gradients (HOG) follow Dalal and Triggs, "Histograms of Oriented
    Gradients for Human Detection", CVPR 2005: each pixel votes for the two nearest of the
    orientations and the four nearest cells, and each cell is normalized by itself (their `L1-sqrt`,
    blocks of one cell). Orientations cover 360 degrees. `skimage.feature.hog` votes for one bin and
    one cell only, which on Fashion-MNIST costs two to four points of accuracy and six times the
    seconds (`benchmarks/models/hog.md`).

    Parameters
    ----------
    kind : {"pixels", "hog", "both"}, default="pixels"
        `pixels` divides by 255, so bytes become 0..1; `hog` gives the histograms; `both` joins
        the pixels and the histograms.
    image_shape : tuple of int or None, default=None
        `(height, width)` or `(height, width, channels)` of the image that a row holds. None takes
        a square gray image, or an image one pixel high where the row's length is not a square.
        Of several channels, HOG takes at each pixel the one with the steepest gradient.
    orientations : int, default=12
        Bins of a histogram; at least 2. HOG only.
    cell_size : int, default=4
        Distance in pixels between the centres of neighbouring cells; at least 1. HOG only.

    Attributes
    ----------
    n_features_in_ : int
        Pixels in a row, seen in `fit`. `transform` works without `fit`.

    Examples
    --------
    >>> ImageFeatures(kind="hog").transform(np.zeros((5, 784), dtype=np.uint8)).shape
    (5, 588)
    """

    def __init__(
        self,
        kind: str = "pixels",
        *,
        image_shape: Sequence[int] | None = None,
        orientations: int = 12,
        cell_size: int = 4,
    ) -> None:
        self.kind = kind
        self.image_shape = image_shape
        self.orientations = orientations
        self.cell_size = cell_size

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Check the parameters against the rows; nothing is learned.

        Parameters
        ----------
        X : array-like of shape (n, height * width * channels)
            Rows of pixels, uint8 0..255 as a rule.
        y : ignored

        Returns
        -------
        ImageFeatures
            Itself.

        Raises
        ------
        ValueError
            Where the row's length is not that of `image_shape`, or the image is smaller than a cell.
        """
        self._n_out(validate_data(self, X).shape[1])
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute the features.

        Parameters
        ----------
        X : array-like of shape (n, height * width * channels)
            Rows of pixels, uint8 0..255 as a rule.

        Returns
        -------
        ndarray of shape (n, n_features), float32
            Features; those of bytes lie in 0..1.

        Raises
        ------
        ValueError
            As `fit`.
        """
        pixels: npt.NDArray[Any] = validate_data(self, X, reset=False)
        out = np.empty((len(pixels), self._n_out(pixels.shape[1])), dtype=np.float32)
        n_scaled = pixels.shape[1] if self.kind != "hog" else 0
        np.divide(pixels[:, :n_scaled], np.float32(255), out=out[:, :n_scaled], casting="same_kind")
        if self.kind != "pixels":
            shape = shape_of_images(pixels.shape[1], self.image_shape)
            for rows in in_parts("HOG", list(gen_batches(len(pixels), _BATCH))):
                out[rows, n_scaled:] = hog(pixels[rows].reshape(-1, *shape), self.orientations, self.cell_size)
        return out

    def _n_out(self, n_pixels: int) -> int:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} is not one of {', '.join(KINDS)}")
        height, width, _ = shape_of_images(n_pixels, self.image_shape)
        if self.kind == "pixels":
            return n_pixels
        if self.orientations < 2 or self.cell_size < 1:
            raise ValueError("orientations must be at least 2, cell_size at least 1")
        n_cells = (height // self.cell_size) * (width // self.cell_size)
        if not n_cells:
            raise ValueError(f"image of {height} x {width} pixels is smaller than a cell of cell_size={self.cell_size}")
        return n_cells * self.orientations + (n_pixels if self.kind == "both" else 0)

    @property
    def _n_features_out(self) -> int:
        return self._n_out(self.n_features_in_)

    def __sklearn_tags__(self) -> Tags:
        """Say that `transform` works without `fit`."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class PrincipalComponents(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Project rows on their principal components, on all there are where there are fewer than asked for.

    `sklearn.decomposition.PCA` refuses that, so that a study made for large images would fail on small ones. Directions
    in which the rows do not vary, such as edges that are always black, are no components: trees would split on their
    rounding.

    Parameters
    ----------
    n_components : int, default=80
        Components to keep at most, at least 1.

    Attributes
    ----------
    components_ : ndarray of shape (n_kept, n_features), float64
        Directions of most variance, most first.
    mean_ : ndarray of shape (n_features,), float64
        Mean row.
    n_features_in_ : int
        Features seen in `fit`.
    """

    def __init__(self, n_components: int = 80) -> None:
        self.n_components = n_components

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Find the components.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Rows to learn from.
        y : ignored

        Returns
        -------
        PrincipalComponents
            Itself.

        Raises
        ------
        ValueError
            Where `n_components` is no whole number of at least 1.
        """
        asked: Any = self.n_components
        if not isinstance(asked, numbers.Integral) or asked < 1:
            raise ValueError(f"n_components={asked!r}: must be a whole number of at least 1")
        rows = validate_data(self, X, ensure_min_samples=2, dtype=[np.float64, np.float32])
        pca = PCA(min(int(asked), *rows.shape), svd_solver="covariance_eigh").fit(rows)  # fast for few features
        vary = np.count_nonzero(pca.explained_variance_ > _ROUNDING * pca.explained_variance_[0])
        self.components_ = pca.components_[: max(1, vary)].astype(np.float64)
        self.mean_ = pca.mean_.astype(np.float64)
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
        """Project rows, in double precision: rounded, sums are then the same in whatever order they were added.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Rows like those of `fit`.

        Returns
        -------
        ndarray of shape (n, n_kept)
            Coordinates, of the floating type of `X`.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        axes = self.components_.T
        origin, projected = self.mean_ @ axes, np.empty((len(rows), axes.shape[1]), rows.dtype)
        for part in gen_batches(len(rows), _BATCH):
            projected[part] = rows[part].astype(np.float64) @ axes - origin
        return projected

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        """Say that the floating type of the rows stays."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def hog(images: npt.NDArray[Any], orientations: int, cell_size: int) -> npt.NDArray[np.float32]:
    """Compute the histograms of oriented gradients of many images at once.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels)
        Images, gray levels 0..255.
    orientations, cell_size : int
        As in `ImageFeatures`.

    Returns
    -------
    ndarray of shape (n, height // cell_size * (width // cell_size) * orientations), float32
        Histograms, 0..1; cells by rows and columns.
    """
    n, height, width, _ = images.shape
    votes = _votes(*_gradients(images.astype(np.float32)), orientations)
    votes = np.tensordot(_tents(height, cell_size), votes, (1, 1))  # rows of cells, n, width, orientations
    votes = np.tensordot(_tents(width, cell_size), votes, (1, 2))  # columns, rows, n, orientations
    cells: npt.NDArray[np.float32] = np.sqrt(votes / (votes.sum(axis=-1, keepdims=True) + _CONTRAST))
    return cells.transpose(2, 1, 0, 3).reshape(n, -1)


def _gradients(images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the steps down and to the right, `(n, height, width)`; none across the image's edge."""
    down, right = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    right[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    steepest = np.hypot(down, right).argmax(axis=-1)[..., None]
    down, right = (np.take_along_axis(part, steepest, axis=-1)[..., 0] for part in (down, right))
    return down, right


def _votes(down: npt.NDArray[np.float32], right: npt.NDArray[np.float32], orientations: int) -> npt.NDArray[np.float32]:
    """Share each pixel's gradient between its two nearest orientations, `(n, height, width, orientations)`."""
    size = np.hypot(down, right)[..., None]
    position = np.arctan2(down, right)[..., None] * np.float32(orientations / (2 * np.pi))
    lower = np.floor(position)
    share = position - lower
    bin_ = lower.astype(np.intp) % orientations
    votes = np.zeros((*down.shape, orientations), dtype=np.float32)
    np.put_along_axis(votes, bin_, size * (1 - share), axis=-1)
    np.put_along_axis(votes, (bin_ + 1) % orientations, size * share, axis=-1)
    return votes


def _tents(size: int, cell_size: int) -> npt.NDArray[np.float32]:
    """Return each pixel's weight in each cell along one axis, `(size // cell_size, size)`."""
    centres = (np.arange(size // cell_size) + 0.5) * cell_size - 0.5
    distance = np.abs(np.arange(size) - centres[:, None]) / cell_size
    return (np.maximum(1 - distance, 0) / cell_size).astype(np.float32)
