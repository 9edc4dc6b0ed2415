"""The ensemble as a scikit-learn classifier that can be saved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from fmnist_bench.data import pixels
from fmnist_bench.data.pixels import WHITE, are_pixels, check_scale
from fmnist_bench.ensemble.members import (
    Members,
    check_fitted,
    default_estimators,
    hold_out,
    routed,
    train,
    with_length_found,
)
from fmnist_bench.ensemble.saved import save_bundle
from fmnist_bench.ensemble.selection import METHODS, Combination, learn_combination
from fmnist_bench.ensemble.tables import aligned, check_table, common_names, first_step, numbers_of, part_of

REFITS, DROP = ("no", "full"), "drop"
KEPT = ("method", "valid_size", "calibrate", "refit", "max_steps", "random_state")  # parameters that are saved
BATCH = 10_000  # rows that the members predict at a time: bounds the memory


class StackedEnsemble(ClassifierMixin, _BaseComposition):  # type: ignore[misc]
    """Several classifiers that predict as one.

    Parameters
    ----------
    estimators : list of (str, estimator) or None
        Candidates for membership; None takes scaled logistic regression, a random forest and extra trees. Their
        parameters are those of the ensemble, as ``name__parameter``; one that is "drop" is left out.
    method : {"greedy", "logistic", "mean"}
        Weighted mean of the members that greedy selection by log loss takes (Caruana et al., 2004); multinomial
        logistic regression on the log probabilities of all (Wolpert, "Stacked generalization", 1992), its temperature
        found by cross-fitting; plain mean of all.
    valid_size : float
        Share of the rows given to `fit` that members are not trained on and the method learns from, between 0 and 1.
        A class of one row is in no such part.
    calibrate : bool
        Scale the logarithms of the probabilities by a temperature, found on these rows (Guo et al., 2017); with the
        greedy method also those of each member before the choice, so that none decides by being surer of itself.
    refit : {"no", "full"}
        Whether members are trained again on all rows, when it is settled which and with what weights; those that
        stopped early, for as many rounds or epochs as were best.
    max_steps : int
        Steps of the greedy selection.
    n_jobs : int or None
        Members that are trained, or predict, side by side; None means one at a time.
    random_state : int, RandomState or None
        Seed of the split, and of the default estimators.

    Attributes
    ----------
    members_ : list of (str, fitted estimator)
        With the greedy method those with a weight above zero. `fit` trains them on the numbers of the classes from 0,
        as `VotingClassifier` does; `encoded_` says so.
    weights_ : ndarray of shape (n_members,)
        Summing to one; with the logistic method each member's share of the coefficients' sizes.
    temperature_ : float
        1 without calibration.
    member_temperatures_ : ndarray of shape (n_members,)
        By which the logarithms of each member's probabilities are divided before the greedy method's mean; else 1.
    stacker_ : LogisticRegression or None
    classes_, class_names_ : ndarray and list of shape (n_classes,)
        The labels, sorted, and their names: the labels as text where nobody has named them.
    n_features_in_ : int
    pixels_ : bool
        Whether the rows of `fit` were whole numbers of 0 to 255.
    image_shape_ : tuple of int or None
        Height, width and perhaps channels of the images given to `fit`; None after rows.
    background_ : float or None
        Mean of the pixels at the edges of the images given to `fit`; None where the rows are no pixels of images.
    data_fingerprint_ : str
        SHA-256 of the rows and labels given to `fit`; empty after `from_fitted`.

    Notes
    -----
    What `VotingClassifier` takes is taken: labels of any kind, frames with words for members that encode them, missing
    values where every member takes them. Names of columns that XGBoost refuses are hidden from it. Rows may also be
    images of shape (n, height, width) or (n, height, width, channels): members get rows, and the shape where their
    parameter `image_shape` is None. Members that declare ``takes_validation_data`` get the rows held out.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> X, y = load_digits(return_X_y=True)
    >>> members = [("logistic", LogisticRegression(max_iter=2000)), ("bayes", GaussianNB(var_smoothing=0.01))]
    >>> ensemble = StackedEnsemble(members, random_state=0).fit(X[:1500], y[:1500])
    >>> bool(ensemble.score(X[1500:], y[1500:]) > 0.88)
    True
    """

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]] | None = None,
        *,
        method: str = "greedy",
        valid_size: float = 0.2,
        calibrate: bool = True,
        refit: str = "no",
        max_steps: int = 25,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimators = estimators
        self.method = method
        self.valid_size = valid_size
        self.calibrate = calibrate
        self.refit = refit
        self.max_steps = max_steps
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, **metadata: Any) -> Self:
        """Train every estimator on a stratified part of the rows, let the method learn from the rest.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images
        y : array-like of shape (n,)
            Labels, two classes or more.
        **metadata
            What members have asked for, such as ``sample_weight``, where scikit-learn's metadata routing is enabled.

        Raises
        ------
        ValueError
            Unusable rows, labels or parameters.
        """
        self._check_parameters()
        asked = routed(self, metadata)
        self.image_shape_ = pixels.image_shape_of(X)
        X, y = check_table(self, X, y, fitting=True)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError("StackedEnsemble needs rows of at least two classes, found one class")
        numbers = numbers_of(X)
        self.pixels_, self.data_fingerprint_ = are_pixels(numbers), pixels.fingerprint(numbers, y)
        self.background_ = pixels.background_of(numbers, self.image_shape_) if self.pixels_ else None
        fit, valid = hold_out(codes, self.valid_size, self.random_state)
        how: dict[str, Any] = {"metadata": asked, "image_shape": self.image_shape_, "n_jobs": self.n_jobs}
        how["names"], X_valid = getattr(self, "feature_names_in_", None), part_of(X, valid)
        held_out = (X_valid, codes[valid]) if fit is not valid else None
        members, self.encoded_ = train(self._estimators(), X, codes, fit, validation_data=held_out, **how), True
        probabilities = np.stack([aligned(model, X_valid, np.arange(len(classes))) for _, model in members])
        self.classes_, calibrate = classes, self.calibrate and held_out is not None
        kept = self._take(
            members, learn_combination(probabilities, codes[valid], self.method, self.max_steps, calibrate)
        )
        if self.refit == "full" and held_out is not None:
            chosen = [(name, with_length_found(dict(self._estimators())[name], model)) for name, model in kept]
            self.members_ = train(chosen, X, codes, np.arange(len(X)), **how)
        return self

    def __sklearn_tags__(self) -> Tags:
        """Say that rows may lack values where every member takes that."""
        tags = super().__sklearn_tags__()
        given = [first_step(each) for _, each in self.estimators or () if hasattr(each, "fit")]
        tags.input_tags.allow_nan = bool(given) and all(get_tags(each).input_tags.allow_nan for each in given)
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which metadata go to the `fit` of which member."""
        fits = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(method_mapping=fits, **dict(self._estimators()))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the estimators under ``name__parameter``."""
        return dict(self._get_params("estimators", deep=deep))

    def set_params(self, **params: Any) -> Self:
        """Set parameters under these names."""
        self._set_params("estimators", **params)
        return self

    @classmethod
    def from_fitted(
        cls,
        members: Sequence[tuple[str, Any]],
        valid_probabilities: NDArray[np.floating[Any]],
        y_valid: ArrayLike,
        *,
        pixels: bool = False,
        **parameters: Any,
    ) -> Self:
        """Combine estimators that are fitted already, without training any.

        Parameters
        ----------
        members : list of (str, fitted classifier)
            All with the same ``classes_``.
        valid_probabilities : ndarray of shape (n_members, n_valid, n_classes)
            What each member predicts for rows that it has not been fitted on.
        y_valid : array of shape (n_valid,)
        pixels : bool
            Whether they were fitted on whole numbers of 0 to 255.
        **parameters
            Of the ensemble, such as `method`; not ``refit="full"``, for which the rows are lacking.

        Raises
        ------
        ValueError
            Where members, probabilities and labels do not belong together.
        """
        ensemble = cls(list(members), **parameters)
        ensemble._check_parameters()
        if ensemble.refit != "no":
            raise ValueError("refit='full': fitted members cannot be trained again without their rows, use `fit`")
        probabilities, y_valid = np.asarray(valid_probabilities), np.asarray(y_valid)
        check_fitted(members, probabilities, y_valid)
        order = np.argsort(members[0][1].classes_)
        ensemble.classes_, ensemble.encoded_ = np.asarray(members[0][1].classes_)[order], False
        ensemble.n_features_in_, ensemble.pixels_ = int(members[0][1].n_features_in_), pixels
        if (names := common_names(members)) is not None:
            ensemble.feature_names_in_ = names
        ensemble.image_shape_, ensemble.background_, ensemble.data_fingerprint_ = None, None, ""
        codes = np.searchsorted(ensemble.classes_, y_valid)
        how = ensemble.method, ensemble.max_steps, ensemble.calibrate
        ensemble._take(list(members), learn_combination(probabilities[:, :, order], codes, *how))
        return ensemble

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities of shape (n, n_classes), float64; each row sums to one."""
        check_is_fitted(self, "members_")
        pixels.check_image_shape(self.image_shape_, X)
        X = check_table(self, X)
        check_scale(WHITE if self.pixels_ else None, numbers_of(X))
        batches = (part_of(X, slice(start, start + BATCH)) for start in range(0, len(X), BATCH))
        return np.concatenate([self._predict_batch(batch) for batch in batches])

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, of shape (n,)."""
        columns = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[columns])

    def save(self, folder: str | Path, allow_import: Sequence[str] = ()) -> None:
        """Write the ensemble as a folder that `load_ensemble` reads; an ensemble that is there is replaced.

        Parameters
        ----------
        folder : str or Path
        allow_import : sequence of str
            Prefixes of further types that members may be made of; `load_ensemble` needs them, too.

        Raises
        ------
        InputError
            Where a member is made of types that would not be loaded again, or something else is there.
        """
        check_is_fitted(self, "members_")
        kept = {name: np.asarray(getattr(self, name)).item() for name in KEPT}  # a search sets numpy's numbers
        about = {
            **{name: value for name, value in kept.items() if not isinstance(value, np.random.RandomState)},
            "fingerprint": self.data_fingerprint_,
            "image_shape": None if self.image_shape_ is None else list(self.image_shape_),
            "background": self.background_,
            "feature_names_in": list(getattr(self, "feature_names_in_", ())),
            "temperature": self.temperature_,
            "pixels": self.pixels_,
            "n_features_in": self.n_features_in_,
            "classes": self.classes_.tolist(),
            "encoded": self.encoded_,
            "class_names": self.class_names_ if self.class_names_ != list(map(str, self.classes_)) else None,
        }
        numbers = zip(self.weights_.tolist(), self.member_temperatures_.tolist(), strict=True)
        members = [(name, *pair, model) for (name, model), pair in zip(self.members_, numbers, strict=True)]
        save_bundle(Path(folder), members, about, self.stacker_, allow_import)

    def _check_parameters(self) -> None:
        for name, allowed in {"method": METHODS, "refit": REFITS}.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(allowed)}")
        if not 0 < self.valid_size < 1:
            raise ValueError(f"valid_size={self.valid_size!r}: must be a share of the rows, between 0 and 1")
        if self.max_steps < 1:
            raise ValueError(f"max_steps={self.max_steps!r}: must be at least 1")
        if wrong := [each for _, each in self.estimators or () if isinstance(each, str) and each != DROP]:
            raise ValueError(f"estimators: {wrong[0]!r} must be an estimator, or {DROP}")
        if lacking := [name for name, each in self._estimators() if not hasattr(each, "predict_proba")]:
            raise ValueError(f"estimators: {', '.join(lacking)}: no predict_proba; wrap in CalibratedClassifierCV")
        if not self._estimators():
            raise ValueError("estimators: at least one is needed, or None for the default ones")
        self._validate_names([name for name, _ in self.estimators or ()])

    def _estimators(self) -> Members:
        given = self.estimators if self.estimators is not None else default_estimators(self.random_state)
        return [pair for pair in given if not isinstance(pair[1], str)]

    def _take(self, members: list[tuple[str, Any]], combination: Combination) -> list[tuple[str, Any]]:
        """Keep the members that count, and return them; a stacker needs all."""
        weights, self.temperature_, self.stacker_ = combination.weights, combination.temperature, combination.stacker
        kept = np.flatnonzero(weights) if self.stacker_ is None else np.arange(len(members))
        self.members_, self.weights_ = [members[i] for i in kept], weights[kept]
        found = combination.temperatures
        self.member_temperatures_ = np.ones(len(kept)) if found is None else found[kept]
        self.class_names_ = list(map(str, self.classes_))
        return self.members_

    def _predict_batch(self, X: Any) -> NDArray[np.float64]:
        known = np.arange(len(self.classes_)) if self.encoded_ else self.classes_
        found = Parallel(self.n_jobs, prefer="threads")(delayed(aligned)(m, X, known) for _, m in self.members_)
        how = self.weights_, self.temperature_, self.stacker_, self.member_temperatures_
        return Combination(*how).apply(np.stack(list(found)))

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        members = zip(getattr(self, "members_", ()), getattr(self, "weights_", ()), strict=True)
        fitted = ", ".join(f"{name} {weight:.2f}" for (name, _), weight in members)
        return str(super().__repr__(N_CHAR_MAX)) + (f", fitted: {fitted}" if fitted else "")

    def _sk_visual_block_(self) -> Any:
        from sklearn.utils._repr_html.estimator import _VisualBlock

        if not hasattr(self, "members_"):
            return _VisualBlock("single", self, names=type(self).__name__, name_details=str(self))
        names = [f"{name}, weight {weight:.2f}" for (name, _), weight in zip(self.members_, self.weights_, strict=True)]
        return _VisualBlock("parallel", [member for _, member in self.members_], names=names, dash_wrapped=False)
