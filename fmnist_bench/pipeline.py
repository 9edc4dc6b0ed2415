"""A `Pipeline`, what a trial fits: rows of pixels -> augment -> features -> model -> class probabilities."""

import inspect
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import sklearn.pipeline
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import _BaseComposition, available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, has_fit_parameter, validate_data

from fmnist_bench._utils.cache import cached_array, source_digest
from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.probabilities import as_probabilities, check_classes
from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.data.pixels import as_rows, check_image_shape, check_scale, image_shape_of, white_of

LEAST_SECONDS = 1.0  # that a model with a deadline may take to train, however long what comes before it took


def _has_probabilities(pipeline: Any) -> bool:
    return hasattr(getattr(pipeline, "model_", pipeline.model), "predict_proba")


class Pipeline(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier over rows of pixels, made of three steps.

    Parameters
    ----------
    model : estimator
        A classifier. Its ``fit`` gets `validation_data`, `monitor`, `checkpoint`, `deadline` and `soft_targets` where
        its class declares that it takes them: ``takes_validation_data = True``, and so on.
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
    feature_names_in_ : ndarray of str
        Names of the columns of the frame given to `fit`; not there after anything else.
    image_shape_ : tuple of int or None
        Of the images given to `fit`; None after rows.
    fine_tuned_ : bool
        Whether the model has learnt from the validation rows, too, by `fine_tune`.
    """

    takes_validation_data = takes_monitor = takes_checkpoint = takes_deadline = True

    def __init__(
        self,
        model: Any,
        features: sklearn.pipeline.Pipeline | None = None,
        augment: Any = None,
        cache_dir: str | None = None,
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
        sample_weight: ArrayLike | None = None,
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
        soft_targets: SoftTargets | None = None,
    ) -> Self:
        """Augment, transform, train.

        Parameters
        ----------
        X : array-like of shape (n, n_pixels), or images
        y : array of shape (n,)
        validation_data : (X_valid, y_valid) or None
            For early stopping and learning curves, where the model takes it.
        monitor : callable or None
            Called as ``monitor(step, score)`` while the model trains, where it can; may raise to stop it.
        sample_weight : array of shape (n,) or None
            Handed on to the model alone: features learn without them. Rows that the augmentation appends weigh as much
            as the mean of these.
        checkpoint : str, Path or None
            File for the model to go on from after a kill, where it can.
        deadline : float or None
            When the training must be over, by ``time.monotonic()``; for a model that can end in time.
        soft_targets : SoftTargets or None
            What a teacher says of the rows, for a network; not with an augmentation, whose rows it has not seen.

        Raises
        ------
        ValueError
            Unusable rows, labels or weights; weights or soft targets that the model does not take.
        PredictionError
            Where the classes of the fitted model are not those of `y`.
        """
        pixels, targets = self._check(X, y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, pixels)
        self.model_, self.features_, augment = self._clones(self.image_shape_)
        rows, labels = augment.fit_resample(pixels, targets) if augment is not None else (pixels, targets)
        given = {} if weights is None else _weights(self.model_, _of_all_rows(weights, pixels, rows))
        transformed = self._fit_features(rows, labels)
        how = {"monitor": monitor, "checkpoint": checkpoint, "deadline": deadline, "soft_targets": soft_targets}
        extras = self._extras(validation_data, **how)
        if soft_targets is not None and "soft_targets" not in extras:
            raise ValueError(f"soft targets: {type(self.model_).__name__} does not learn from a teacher")
        self.model_.fit(transformed, labels, **extras, **given)
        self.classes_, self.fine_tuned_ = np.unique(targets), False
        check_classes(self.model_.classes_, self.classes_)
        return self

    @available_if(lambda self: hasattr(getattr(self, "model_", self.model), "fine_tune"))  # type: ignore[untyped-decorator]
    def fine_tune(
        self,
        X: ArrayLike,
        y: ArrayLike,
        validation_data: tuple[ArrayLike, ArrayLike],
        checkpoint: str | Path | None = None,
        deadline: float | None = None,
    ) -> Self:
        """Train the fitted model on, on train and validation rows, once these have scored it.

        Its own `fine_tune` does that, see `KerasClassifier`. The features stay as they are; train rows are augmented.

        Parameters
        ----------
        X, y, validation_data
            As they were given to `fit`.
        checkpoint, deadline
            As in `fit`; the file is another one.
        """
        augment = self._clones(self.image_shape_)[2]
        pixels, targets = self._check_again(X), np.asarray(y)
        rows, labels = augment.fit_resample(pixels, targets) if augment is not None else (pixels, targets)
        valid = self._transform(self._check_again(validation_data[0])), validation_data[1]
        self.model_.fine_tune(self._transform(rows), labels, valid, checkpoint, deadline)
        self.fine_tuned_ = True
        return self

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Class probabilities, float32 of shape (n, n_classes), in the order of `classes_`; each row sums to one."""
        rows = self._check_again(X)
        found = self.model_.predict_proba(self._transform(rows))
        return np.asarray(as_probabilities(found, len(rows), self.model_.classes_), dtype=np.float32)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row, of shape (n,); without probabilities what the model predicts."""
        if hasattr(self, "predict_proba"):
            columns = self.predict_proba(X).argmax(axis=1)
        else:
            rows = self._check_again(X)
            columns = np.searchsorted(np.sort(self.model_.classes_), self.model_.predict(self._transform(rows)))
        return np.asarray(self.classes_[columns])

    def _check(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Check the shape of rows and labels; features and model check their values, such as NaN."""
        X = _array_or_frame(X)
        self.image_shape_ = image_shape_of(X)
        pixels, labels = validate_data(self, as_rows(X), y, dtype=None, ensure_all_finite=False)
        check_classification_targets(labels)
        self._white = white_of(pixels)
        return pixels, labels

    def _check_again(self, X: Any) -> Any:
        check_is_fitted(self, "classes_")
        X = _array_or_frame(X)
        check_image_shape(self.image_shape_, X)
        pixels = validate_data(self, as_rows(X), reset=False, dtype=None, ensure_all_finite=False)
        check_scale(self._white, pixels)
        return pixels

    def __sklearn_tags__(self) -> Tags:
        """Say what the first of the steps takes."""
        tags = super().__sklearn_tags__()
        steps = self.features.steps if self.features is not None else [("model", self.model)]
        tags.input_tags.allow_nan = get_tags(steps[0][1]).input_tags.allow_nan
        return tags

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

    def _extras(self, validation_data: Any, **given: Any) -> dict[str, Any]:
        last, prefix = _last_step(self.model_)
        if given.get("deadline") is not None:
            given["deadline"] = max(given["deadline"], time.monotonic() + LEAST_SECONDS)
            if prefix and takes(last, "deadline"):
                return {f"{prefix}deadline": given["deadline"]}
        extras = {name: value for name, value in given.items() if value is not None and takes(self.model_, name)}
        if validation_data is not None and takes(self.model_, "validation_data"):
            X, y = validation_data
            rows = validate_data(self, as_rows(_array_or_frame(X)), reset=False, dtype=None, ensure_all_finite=False)
            extras["validation_data"] = (self._transform(rows), y)
        return extras


def takes(estimator: Any, what: str) -> bool:
    """Whether the class of an estimator declares that its `fit` takes `validation_data`, `monitor` or the like.

    The name of a parameter alone tells nothing: a `monitor` of ``sklearn.ensemble.GradientBoostingClassifier`` is
    called with three other arguments.
    """
    declared = bool(getattr(estimator, f"takes_{what}", False))
    named = what in inspect.signature(estimator.fit).parameters
    if named and not declared and what == "validation_data":
        kind = type(estimator).__name__
        warnings.warn(f"{kind} gets no validation rows: it does not declare takes_validation_data = True", stacklevel=4)
    return declared and named


def _array_or_frame(X: Any) -> Any:
    return X if hasattr(X, "shape") else np.asarray(X)


def _weights(model: Any, weights: NDArray[Any]) -> dict[str, Any]:
    """Name the weights as the `fit` of the model does; in a pipeline they are for its last step."""
    last, prefix = _last_step(model)
    if not has_fit_parameter(last, "sample_weight"):
        raise ValueError(f"sample_weight: {type(last).__name__} takes no weights")
    return {f"{prefix}sample_weight": weights}


def _last_step(model: Any) -> tuple[Any, str]:
    """Give the last step of a scikit-learn pipeline, and what stands before the arguments of its `fit`."""
    prefix = ""
    while isinstance(model, sklearn.pipeline.Pipeline):
        step, model = model.steps[-1]
        prefix = f"{prefix}{step}__"
    return model, prefix


def _of_all_rows(weights: NDArray[Any], given: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Give the rows that an augmentation has appended the mean of the weights of the others."""
    n = len(given)
    if rows is not given and not (len(rows) >= n and np.array_equal(rows[:n], given)):
        raise ValueError(
            "sample_weight: the augmentation does more than append rows, so it is not known whose they are"
        )
    return np.concatenate([weights, np.full(len(rows) - n, weights.mean())])


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


def tell_image_shape(estimator: Any, image_shape: tuple[int, ...] | None) -> Any:
    """Set the `image_shape` of what sees images, where nobody has; a model behind features sees none. Return it."""
    behind = isinstance(estimator, Pipeline) and estimator.features is not None
    for part in (estimator.features, estimator.augment) if behind else (estimator,):
        if part is not None and image_shape is not None:
            unset = [name for name, value in part.get_params().items() if value is None]
            names = [name for name in unset if name.rpartition("__")[2] == "image_shape"]
            part.set_params(**dict.fromkeys(names, image_shape))
    return estimator


def _cached_transform(step: Any, X: NDArray[Any], folder: Path) -> Any:
    kind, settings = type(step), sorted(step.get_params().items())
    made_by = f"{kind.__module__}.{kind.__qualname__} {source_digest(kind)}"  # whoever mends it needs other features
    digest = digest_of(f"{made_by} {settings} {X.dtype} {X.shape}", X)
    return cached_array(folder / f"{digest}.npy", lambda: np.asarray(step.transform(X)))
