"""The ensemble as a scikit-learn classifier that can be saved."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist_bench.arrays import are_pixels, as_rows, warn_of_scale
from fmnist_bench.bundle import read_bundle, write_bundle
from fmnist_bench.candidate import load_model, save_model
from fmnist_bench.selection import METHODS, Combination, learn_combination

REFITS = ("no", "full")
BATCH = 10_000  # rows that the members predict at a time: bounds the memory


class StackedEnsemble(ClassifierMixin, BaseEstimator):
    """Several classifiers that predict as one.

    Parameters
    ----------
    estimators : list of (str, estimator) or None
        Candidates for membership; None takes scaled logistic regression, a random forest and extra trees.
    method : {"greedy", "logistic", "mean"}
        Weighted mean of the members that greedy selection takes (Caruana et al., 2004); multinomial logistic
        regression on the log probabilities of all (Wolpert, "Stacked generalization", 1992); plain mean of all.
    valid_size : float
        Share of the rows given to `fit` that members are not trained on and the method learns from, between 0 and 1.
    calibrate : bool
        Scale the logarithms of the probabilities by one temperature, found on these rows (Guo et al., 2017).
    refit : {"no", "full"}
        Whether members are trained again on all rows, when it is settled which and with what weights.
    max_steps : int
        Steps of the greedy selection.
    n_jobs : int or None
        Members that are trained, or predict, side by side; None means one at a time.
    random_state : int, RandomState or None
        Seed of the split, and of the default estimators.

    Attributes
    ----------
    members_ : list of (str, fitted estimator)
        With the greedy method those with a weight above zero.
    weights_ : ndarray of shape (n_members,)
        Summing to one; with the logistic method each member's share of the coefficients' sizes.
    temperature_ : float
        1 without calibration.
    stacker_ : LogisticRegression or None
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    pixels_ : bool
        Whether the rows of `fit` were whole numbers of 0 to 255.

    Notes
    -----
    Rows may also be images of shape (n, height, width) or (n, height, width, channels).

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

    members_: list[tuple[str, Any]]

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

    def fit(self, X: Any, y: Any) -> Self:
        """Train every estimator on a stratified part of the rows, let the method learn from the rest.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images
        y : array-like of shape (n,)
            Labels, two classes or more.
        """
        self._check_parameters()
        X, y = validate_data(self, as_rows(X), y)
        check_classification_targets(y)
        classes, encoded = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError("StackedEnsemble needs rows of at least two classes, found one class")
        self.pixels_ = are_pixels(X)
        fit, valid = self._split(encoded)
        fitted = self._train([estimator for _, estimator in self._estimators()], X[fit], y[fit])
        members = [(name, model) for (name, _), model in zip(self._estimators(), fitted, strict=True)]
        probabilities = np.stack([_aligned(model, X[valid], classes) for model in fitted])
        self.classes_, calibrate = classes, self.calibrate and fit is not valid
        self._take(members, learn_combination(probabilities, encoded[valid], self.method, self.max_steps, calibrate))
        if self.refit == "full" and fit is not valid:
            names = [name for name, _ in self.members_]
            chosen = [estimator for name, estimator in self._estimators() if name in names]
            self.members_ = list(zip(names, self._train(chosen, X, y), strict=True))
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
            Of the ensemble, such as `method`.

        Raises
        ------
        ValueError
            Where members, probabilities and labels do not belong together.
        """
        ensemble = cls(list(members), **parameters)
        ensemble._check_parameters()
        _check_fitted(members, np.shape(valid_probabilities), np.asarray(y_valid))
        ensemble.classes_ = np.asarray(members[0][1].classes_)
        ensemble.n_features_in_, ensemble.pixels_ = int(members[0][1].n_features_in_), pixels
        encoded = np.searchsorted(ensemble.classes_, np.asarray(y_valid))
        how = ensemble.method, ensemble.max_steps, ensemble.calibrate
        ensemble._take(list(members), learn_combination(np.asarray(valid_probabilities), encoded, *how))
        return ensemble

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities of shape (n, n_classes), float64; each row sums to one."""
        check_is_fitted(self, "members_")
        X = validate_data(self, as_rows(X), reset=False)
        if self.pixels_:
            warn_of_scale(X)
        parts = [self._predict_batch(X[start : start + BATCH]) for start in range(0, len(X), BATCH)]
        return np.concatenate(parts)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, of shape (n,)."""
        columns = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[columns])

    def save(self, folder: str | Path) -> None:
        """Write the ensemble as a folder that `load_ensemble` reads; one that is there is replaced.

        Raises
        ------
        InputError
            Where a member is made of types that would not be loaded again.
        """
        check_is_fitted(self, "members_")
        about = {
            "method": self.method,
            "temperature": self.temperature_,
            "pixels": self.pixels_,
            "n_features_in": self.n_features_in_,
            "classes": self.classes_.tolist(),
        }
        with tempfile.TemporaryDirectory() as place:
            models = [model for _, model in self.members_] + ([] if self.stacker_ is None else [self.stacker_])
            files = [Path(place) / f"{number}.skops" for number in range(len(models))]
            for model, file in zip(models, files, strict=True):
                save_model(model, file)
                load_model(file)  # better refused now than when it is needed
            names, n = [name for name, _ in self.members_], len(self.members_)
            members = list(zip(names, self.weights_.tolist(), files[:n], strict=True))
            write_bundle(Path(folder), members, about, files[n] if files[n:] else None)

    def _check_parameters(self) -> None:
        for name, allowed in {"method": METHODS, "refit": REFITS}.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(allowed)}")
        names = [name for name, _ in self._estimators()]
        if len(set(names)) < len(names):
            raise ValueError(f"estimators: two have the same name among {', '.join(names)}")

    def _estimators(self) -> Sequence[tuple[str, Any]]:
        if self.estimators is not None:
            return self.estimators
        seed = self.random_state
        return [
            ("logistic_regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
            ("random_forest", RandomForestClassifier(random_state=seed)),
            ("extra_trees", ExtraTreesClassifier(random_state=seed)),
        ]

    def _train(self, estimators: Sequence[Any], X: NDArray[Any], y: NDArray[Any]) -> list[Any]:
        jobs = (delayed(clone(estimator).fit)(X, y) for estimator in estimators)
        return list(Parallel(self.n_jobs, prefer="threads")(jobs))

    def _split(self, encoded: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, counts = np.arange(len(encoded)), np.bincount(encoded)
        n_valid = max(round(float(self.valid_size) * len(rows)), len(counts))
        if counts.min() < 2 or len(rows) - n_valid < len(counts):
            return rows, rows  # too few rows to hold any out: better a choice on seen rows than a missing class
        fit, valid = train_test_split(rows, test_size=n_valid, stratify=encoded, random_state=self.random_state)
        return fit, valid

    def _take(self, members: list[tuple[str, Any]], combination: Combination) -> None:
        """Keep the members that count; a stacker needs all."""
        weights = combination.weights
        kept = np.flatnonzero(weights) if combination.stacker is None else np.arange(len(members))
        self.members_, self.weights_ = [members[i] for i in kept], weights[kept]
        self.temperature_, self.stacker_ = combination.temperature, combination.stacker

    def _predict_batch(self, X: NDArray[Any]) -> NDArray[np.float64]:
        jobs = (delayed(_aligned)(member, X, self.classes_) for _, member in self.members_)
        probabilities = np.stack(list(Parallel(self.n_jobs, prefer="threads")(jobs)))
        return Combination(self.weights_, self.temperature_, self.stacker_).apply(probabilities)

    def _sk_visual_block_(self) -> Any:
        from sklearn.utils._repr_html.estimator import _VisualBlock

        if not hasattr(self, "members_"):
            return _VisualBlock("single", self, names=type(self).__name__, name_details=str(self))
        names = [f"{name}, weight {weight:.2f}" for (name, _), weight in zip(self.members_, self.weights_, strict=True)]
        return _VisualBlock("parallel", [member for _, member in self.members_], names=names, dash_wrapped=False)


def _check_fitted(members: Sequence[tuple[str, Any]], shape: tuple[int, ...], y: NDArray[Any]) -> None:
    if not members:
        raise ValueError("members: at least one fitted estimator is needed")
    classes = np.asarray(members[0][1].classes_)
    if other := [name for name, member in members if not np.array_equal(member.classes_, classes)]:
        raise ValueError(f"members: {', '.join(other)} and {members[0][0]} have different classes_")
    if shape != (expected := (len(members), len(y), len(classes))):
        raise ValueError(f"valid_probabilities have the shape {shape}: must be {expected}, members x rows x classes")
    if unknown := np.setdiff1d(y, classes).tolist():
        raise ValueError(f"y_valid: no member knows {', '.join(map(str, unknown))}")


def _aligned(estimator: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities in the columns of `classes`; zero for a class that the estimator has not seen."""
    aligned = np.zeros((len(X), len(classes)))
    aligned[:, np.searchsorted(classes, estimator.classes_)] = estimator.predict_proba(X)
    return aligned


def load_ensemble(folder: str | Path, allow_import: Sequence[str] = (), n_jobs: int | None = -1) -> StackedEnsemble:
    """Load an ensemble that a benchmark, or `StackedEnsemble.save`, has saved.

    Parameters
    ----------
    folder : str or Path
        The folder that ``run`` prints, ``mlruns/runs/.../ensemble``.
    allow_import : sequence of str
        Prefixes of further types that members may be made of.
    n_jobs : int or None
        Members that predict side by side: as many as there are cores by default, None for one at a time.

    Raises
    ------
    InputError
        Where a file is missing, has changed, or holds a type that is not trusted.
    """
    manifest, models, stacker = read_bundle(Path(folder), allow_import)
    names = [entry["name"] for entry in manifest["members"]]
    members = list(zip(names, models, strict=True))
    ensemble = StackedEnsemble(members, method=manifest["method"], n_jobs=n_jobs)
    ensemble.members_ = members
    ensemble.weights_ = np.array([entry["weight"] for entry in manifest["members"]])
    ensemble.temperature_, ensemble.stacker_ = float(manifest["temperature"]), stacker
    ensemble.classes_ = np.array(manifest["classes"])
    ensemble.n_features_in_, ensemble.pixels_ = int(manifest["n_features_in"]), bool(manifest["pixels"])
    return ensemble
