"""Greedy ensemble selection, and the ensemble as a scikit-learn classifier that can be saved."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist_bench.candidate import load_model
from fmnist_bench.errors import InputError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


def greedy_selection(
    probabilities: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]], max_steps: int = 25
) -> NDArray[np.float64]:
    """Choose members with replacement so that their mean predicts best (Caruana et al., 2004).

    Each step adds the member that gives the mean the highest accuracy, where a tie between classes counts as wrong;
    equal accuracies are decided by the lower log loss, then by the lower index. The best step of all is kept, the
    earliest among equals.

    Parameters
    ----------
    probabilities : ndarray of shape (n_members, n_rows, n_classes)
    y : ndarray of shape (n_rows,)
        Column of the right class, 0 to n_classes - 1.
    max_steps : int
        At least 1.

    Returns
    -------
    weights : ndarray of shape (n_members,)
        Not negative, summing to one.
    """
    members = np.ascontiguousarray(np.moveaxis(probabilities, 2, 1))  # classes before rows: four times as fast
    counts = np.zeros(len(members), dtype=np.int64)
    total = np.zeros(members.shape[1:], dtype=np.float64)
    best_score, best_counts = (-1.0, 0.0), counts.copy()
    for step in range(1, max_steps + 1):
        hits = [_hits(total + member, y) for member in members]
        level = [i for i, hit in enumerate(hits) if hit == max(hits)]
        chosen = max(level, key=lambda i: (_log_likelihood((total + members[i]) / step, y), -i))
        counts[chosen] += 1
        total += members[chosen]
        score = max(hits) / len(y), _log_likelihood(total / step, y)
        if score > best_score:
            best_score, best_counts = score, counts.copy()
    return np.asarray(best_counts / best_counts.sum())


def _hits(total: NDArray[np.float64], y: NDArray[np.integer[Any]]) -> int:
    """Count the rows whose right class is ahead of every other; changes `total`."""
    rows = np.arange(len(y))
    right = total[y, rows]
    total[y, rows] = -1.0
    return int((right > total.max(axis=0)).sum())


def _log_likelihood(mean: NDArray[np.float64], y: NDArray[np.integer[Any]]) -> float:
    return float(np.log(np.clip(mean[y, np.arange(len(y))], 1e-15, None)).mean())


class StackedEnsemble(ClassifierMixin, BaseEstimator):
    """Weighted mean of the probabilities of several classifiers, chosen by greedy selection.

    Parameters
    ----------
    estimators : list of (str, estimator) or None
        Candidates for membership; None takes scaled logistic regression, a random forest and extra trees.
    valid_size : float
        Share of the rows given to `fit` on which members are chosen, between 0 and 1.
    max_steps : int
        Steps of the greedy selection (Caruana et al., 2004).
    random_state : int, RandomState or None
        Seed of the split, and of the default estimators.

    Attributes
    ----------
    members_ : list of (str, fitted estimator)
        Those with a weight above zero.
    weights_ : ndarray of shape (n_members,)
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    """

    def __init__(
        self,
        estimators: Sequence[tuple[str, Any]] | None = None,
        *,
        valid_size: float = 0.2,
        max_steps: int = 25,
        random_state: Any = None,
    ) -> None:
        self.estimators = estimators
        self.valid_size = valid_size
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train every estimator on a stratified part of the rows, choose and weight on the rest."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        classes, encoded = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError("StackedEnsemble needs rows of at least two classes, found one class")
        fit, valid = self._split(encoded)
        fitted = [(name, clone(estimator).fit(X[fit], y[fit])) for name, estimator in self._estimators()]
        probabilities = [_aligned(estimator, X[valid], classes) for _, estimator in fitted]
        return self._choose(fitted, np.stack(probabilities), encoded[valid], classes)

    @classmethod
    def from_fitted(
        cls,
        members: Sequence[tuple[str, Any]],
        valid_probabilities: NDArray[np.floating[Any]],
        y_valid: ArrayLike,
        *,
        max_steps: int = 25,
    ) -> Self:
        """Choose among estimators that are fitted already, without training any.

        Parameters
        ----------
        members : list of (str, fitted classifier)
            All with the same ``classes_``.
        valid_probabilities : ndarray of shape (n_members, n_valid, n_classes)
            What each member predicts for rows that it has not been fitted on.
        y_valid : array of shape (n_valid,)
        """
        ensemble = cls(list(members), max_steps=max_steps)
        classes = np.asarray(members[0][1].classes_)
        encoded = np.searchsorted(classes, np.asarray(y_valid))
        ensemble.n_features_in_ = int(members[0][1].n_features_in_)
        return ensemble._choose(list(members), valid_probabilities, encoded, classes)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities of shape (n, n_classes), float64; each row sums to one."""
        check_is_fitted(self, "members_")
        X = validate_data(self, X, reset=False)
        total = np.zeros((len(X), len(self.classes_)))
        for weight, (_, member) in zip(self.weights_, self.members_, strict=True):
            total += weight * _aligned(member, X, self.classes_)
        return np.asarray(total / total.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, of shape (n,)."""
        columns = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[columns])

    def _estimators(self) -> Sequence[tuple[str, Any]]:
        if self.estimators is not None:
            return self.estimators
        seed = self.random_state
        return [
            ("logistic_regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
            ("random_forest", RandomForestClassifier(random_state=seed)),
            ("extra_trees", ExtraTreesClassifier(random_state=seed)),
        ]

    def _split(self, encoded: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, counts = np.arange(len(encoded)), np.bincount(encoded)
        n_valid = max(round(float(self.valid_size) * len(rows)), len(counts))
        if counts.min() < 2 or len(rows) - n_valid < len(counts):
            return rows, rows  # too few rows to hold any out: better a choice on seen rows than a missing class
        fit, valid = train_test_split(rows, test_size=n_valid, stratify=encoded, random_state=self.random_state)
        return fit, valid

    def _choose(
        self, fitted: list[tuple[str, Any]], probabilities: NDArray[Any], encoded: NDArray[Any], classes: NDArray[Any]
    ) -> Self:
        weights = greedy_selection(probabilities, encoded, self.max_steps)
        return self._assemble([fitted[i] for i in np.flatnonzero(weights)], weights[weights > 0], classes)

    def _assemble(self, members: list[tuple[str, Any]], weights: NDArray[Any], classes: NDArray[Any]) -> Self:
        self.members_, self.weights_, self.classes_ = members, weights, classes
        return self


def _aligned(estimator: Any, X: Any, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities in the columns of `classes`; zero for a class that the estimator has not seen."""
    aligned = np.zeros((len(X), len(classes)))
    aligned[:, np.searchsorted(classes, estimator.classes_)] = estimator.predict_proba(X)
    return aligned


def save_ensemble(
    folder: Path,
    members: Sequence[tuple[str, float, Path]],
    n_features_in: int,
    fingerprint: str,
    classes: Sequence[Any],
) -> None:
    """Write an ensemble of saved models as a folder: a manifest, and each member's own file.

    Parameters
    ----------
    folder : Path
        Replaced when the new one is whole.
    members : list of (str, float, Path)
        Name, weight and file of each, as `save_model` wrote it.
    n_features_in : int
    fingerprint : str
        SHA-256 of the data set.
    classes : sequence of int or str
        Labels in the order of the columns.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    entries = [_add_member(temporary, *member) for member in members]
    manifest = {
        "format_version": FORMAT_VERSION,
        "scikit_learn": sklearn.__version__,
        "fingerprint": fingerprint,
        "n_features_in": n_features_in,
        "classes": list(classes),
        "members": entries,
    }
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def _add_member(folder: Path, name: str, weight: float, source: Path) -> dict[str, Any]:
    target = folder / (name.replace("/", "-") + source.suffix)
    link_or_copy(source, target)
    return {"name": name, "weight": weight, "file": target.name, "sha256": _sha256(target)}


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_ensemble(folder: str | Path, allow_import: Sequence[str] = ()) -> StackedEnsemble:
    """Load the ensemble that a benchmark saved.

    Parameters
    ----------
    folder : str or Path
        The folder that ``run`` prints, ``mlruns/runs/.../ensemble``.
    allow_import : sequence of str
        Prefixes of further types that members may be made of.

    Raises
    ------
    InputError
        Where a file is missing, has changed, or holds a type that is not trusted.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    members = [(entry["name"], _load_member(folder, entry, allow_import)) for entry in manifest["members"]]
    ensemble = StackedEnsemble(members)
    ensemble.n_features_in_ = int(manifest["n_features_in"])
    weights = np.array([entry["weight"] for entry in manifest["members"]])
    return ensemble._assemble(members, weights, np.array(manifest["classes"]))


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    try:
        manifest: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text())
        version = manifest["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not a saved ensemble, {MANIFEST} cannot be read: {error}") from error
    if version != FORMAT_VERSION:
        raise InputError(f"{folder}: format version {version}, this program reads version {FORMAT_VERSION}")
    return manifest


def _load_member(folder: Path, entry: Mapping[str, Any], allow_import: Sequence[str]) -> Any:
    path = folder / Path(entry["file"]).name
    if not path.is_file() or _sha256(path) != entry["sha256"]:
        raise InputError(f"{path}: missing or changed since the ensemble was saved")
    return load_model(path, allow_import)
