"""One contestant: rows of pixels -> augment -> features -> model -> class probabilities."""

import hashlib
import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from fmnist_bench.arrays import (
    as_rows,
    cached_array,
    check_image_shape,
    image_shape_of,
    source_digest,
)
from fmnist_bench.pixels import check_scale, white_of
from fmnist_bench.probabilities import as_probabilities, check_classes

LEAST_SECONDS = 1.0  # that a model with a limit may take to train, however long what comes before it took


class Candidate(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier over rows of pixels, made of three steps.

    Parameters
    ----------
    model : estimator
        A classifier with ``predict_proba``. If its ``fit`` takes `validation_data` or `monitor`, it gets them.
    features : Pipeline or None
        Transformers between the pixels and the model.
    augment : sampler or None
        An object with ``fit_resample(X, y)``, as in imbalanced-learn; it sees the rows given to `fit` alone.
    cache_dir : str or None
        Folder in which the output of slow transformers that learn nothing (scikit-learn's tag ``requires_fit``
        is False) is kept, by the content of their input, their settings and their source.

    Attributes
    ----------
    model_, features_ : fitted clones
    classes_ : ndarray of shape (n_classes,)
        Sorted, in whatever order the model has them.
    n_features_in_ : int
    image_shape_ : tuple of int or None
        Of the images given to `fit`; None after rows.
    """

    def __init__(
        self, model: Any, features: Pipeline | None = None, augment: Any = None, cache_dir: str | None = None
    ) -> None:
        self.model = model
        self.features = features
        self.augment = augment
        self.cache_dir = cache_dir

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        monitor: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Augment, transform, train.

        Parameters
        ----------
        X : array of shape (n, n_pixels)
        y : array of shape (n,)
        validation_data : (X_valid, y_valid) or None
            For early stopping and learning curves, where the model takes it.
        monitor : callable or None
            Called as ``monitor(step, score)`` while the model trains, where it can; may raise to stop it.

        Raises
        ------
        PredictionError
            Where the classes of the fitted model are not those of `y`.
        """
        started, pixels = time.monotonic(), as_rows(np.asarray(X))
        self.n_features_in_, self.image_shape_ = pixels.shape[1], image_shape_of(X)
        self._white = white_of(pixels)
        self.model_, self.features_, augment = self._clones(self.image_shape_)
        rows, labels = augment.fit_resample(pixels, y) if augment is not None else (pixels, y)
        transformed = self._fit_features(rows, labels)
        _take_from_limit(self.model_, time.monotonic() - started)
        self.model_.fit(transformed, labels, **self._extras(validation_data, monitor))
        self.classes_ = np.unique(np.asarray(y))
        check_classes(self.model_.classes_, self.classes_)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Class probabilities, float32 of shape (n, n_classes), in the order of `classes_`; each row sums to one."""
        check_is_fitted(self, "classes_")
        check_image_shape(getattr(self, "image_shape_", None), X)  # some were saved before these were kept
        pixels = as_rows(np.asarray(X))
        check_scale(getattr(self, "_white", None), pixels)
        found = self.model_.predict_proba(self._transform(pixels))
        return np.asarray(as_probabilities(found, len(pixels), self.model_.classes_), dtype=np.float32)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row, of shape (n,)."""
        columns = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[columns])

    def _clones(self, image_shape: tuple[int, ...] | None) -> tuple[Any, Any, Any]:
        """Clone model, features and augmentation; those that see images learn their shape, which rows do not tell."""
        whole = tell_image_shape(clone(self), image_shape)
        return whole.model, whole.features, whole.augment

    def _fit_features(self, X: Any, y: Any) -> Any:
        for _, step in self.features_.steps if self.features_ is not None else ():
            X = self._apply(step.fit(X, y), X)
        return X

    def _transform(self, X: Any) -> Any:
        for _, step in self.features_.steps if self.features_ is not None else ():
            X = self._apply(step, X)
        return X

    def _apply(self, step: Any, X: Any) -> Any:
        if self.cache_dir is None or get_tags(step).requires_fit:
            return step.transform(X)
        return _cached_transform(step, np.asarray(X), Path(self.cache_dir))

    def _extras(self, validation_data: Any, monitor: Any) -> dict[str, Any]:
        accepted = inspect.signature(self.model_.fit).parameters
        extras: dict[str, Any] = {}
        if validation_data is not None and "validation_data" in accepted:
            extras["validation_data"] = (self._transform(as_rows(np.asarray(validation_data[0]))), validation_data[1])
        if monitor is not None and "monitor" in accepted:
            extras["monitor"] = monitor
        return extras


class Augmentations(_BaseComposition):  # type: ignore[misc]
    """Several samplers as one: each appends to the real rows, and none sees what another one has appended.

    Parameters
    ----------
    samplers : list of (str, sampler)
        Names and objects with ``fit_resample``.
    """

    def __init__(self, samplers: Sequence[tuple[str, Any]]) -> None:
        self.samplers = samplers

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the samplers under ``name__parameter``."""
        return dict(self._get_params("samplers", deep=deep))

    def set_params(self, **params: Any) -> Self:
        """Set parameters under these names."""
        self._set_params("samplers", **params)
        return self

    def fit_resample(self, X: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Append to the rows what each sampler appends to them."""
        made = [sampler.fit_resample(X, y) for _, sampler in self.samplers]
        rows = [X, *(rows[len(X) :] for rows, _ in made)]
        return np.concatenate(rows), np.concatenate([y, *(labels[len(X) :] for _, labels in made)])


def set_where_none(estimator: BaseEstimator, **values: Any) -> None:
    """Set every parameter, at any depth, whose own name is in `values` and that nobody has set.

    ``set_where_none(candidate, random_state=0, image_shape=(28, 28))`` reaches ``model__random_state`` as well as
    ``features__hog__image_shape``.
    """
    found = {
        name: values[name.rpartition("__")[2]]
        for name, current in estimator.get_params(deep=True).items()
        if current is None and name.rpartition("__")[2] in values
    }
    estimator.set_params(**found)


def tell_image_shape(estimator: Any, image_shape: tuple[int, ...] | None) -> Any:
    """Set the `image_shape` of what sees images, where nobody has; a model behind features sees none. Return it."""
    behind = isinstance(estimator, Candidate) and estimator.features is not None
    for part in (estimator.features, estimator.augment) if behind else (estimator,):
        if part is not None and image_shape is not None:
            set_where_none(part, image_shape=image_shape)
    return estimator


def _take_from_limit(model: BaseEstimator, seconds: float) -> None:
    """Leave a model the time that augmentation and features have not taken of its `max_seconds`."""
    limits = {name: most for name, most in model.get_params().items() if name.rpartition("__")[2] == "max_seconds"}
    model.set_params(**{name: max(most - seconds, LEAST_SECONDS) for name, most in limits.items() if most is not None})


def _cached_transform(step: Any, X: NDArray[Any], folder: Path) -> Any:
    kind, settings = type(step), sorted(step.get_params().items())
    made_by = f"{kind.__module__}.{kind.__qualname__} {source_digest(kind)}"  # whoever mends it needs other features
    digest = hashlib.sha256(f"{made_by} {settings} {X.dtype} {X.shape}".encode())
    digest.update(np.ascontiguousarray(X).data)
    return cached_array(folder / f"{digest.hexdigest()}.npy", lambda: np.asarray(step.transform(X)))
