"""A search as a scikit-learn classifier over arrays or frames in memory."""

from __future__ import annotations

import inspect
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fmnist_bench._utils.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from fmnist_bench.automl.results import RunResults
    from fmnist_bench.data.dataset import Dataset
    from fmnist_bench.ensemble.estimator import StackedEnsemble
    from fmnist_bench.report.findings import Findings


class _Bases:
    """Stands for scikit-learn's base classes until there is an instance: importing scikit-learn takes a second."""


class AutoClassifier(_Bases):
    """Search classifiers of small images within a budget, and predict with the ensemble of the best.

    It runs what ``python -m fmnist_bench run`` runs: a process a trial, limits, MLflow, a report. There are no test
    rows: leaderboard and report are by validation rows, which flatter. `report` opens a test set that it is handed.

    Parameters
    ----------
    benchmark : str or Path
        Name of a benchmark or a study, or the path of a TOML file.
    studies : list of str or Path, or None
        Studies to search instead of those of the benchmark, by name or path.
    budget : float, str or None
        Wall-clock time for everything but the loading of the fitted ensemble: seconds, or such as ``"10m"``; None
        takes the benchmark's.
    trials : int or None
        Number of trials of each study instead of the benchmark's budget; with `budget` what is used up first ends it.
    seeds : int
        Number of runs, each with its budget and a seed of its own; the model is that of the run whose ensemble is best
        by validation rows.
    refit : {"networks", "no", "full"}
        Which models learn from the validation rows, too, when they are scored. "networks": those that train long, for
        two fifths of their time. "full": after the budget, in this process, the others are trained again on all rows,
        as in `StackedEnsemble`. Scores are of the models before that. The rows of a `validation_data` are learnt from
        with "full" alone.
    mlruns : str, Path or None
        Folder of everything that is written; None takes a temporary one, which goes with `run_`.
    n_jobs : int or None
        Trials that run side by side; None or -1 take what is fastest.
    verbose : int
        0 shows nothing; else a live table on a terminal, and lines anywhere else.
    random_state : int, RandomState or None
        Seed of split, search and models.
    allow_import : sequence of str
        Prefixes of modules that studies may name beside those of this package, scikit-learn and XGBoost.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Numbers in a row; names of the columns, where the rows came in a frame.
    image_shape_ : tuple of int or None
        Of the images given to `fit`; None after rows.
    scale_ : (float, float)
        The numbers that stand for black and for white.
    ensemble_ : StackedEnsemble
        Over rows of pixels of 0 to 255, as all models here.
    best_estimator_ : Pipeline
        The best single model by validation rows.
    leaderboard_, trials_ : DataFrame
        The ensemble and the best trial of each study; every trial. See `RunResults`.
    run_, runs_ : RunResults, list of RunResults
        Everything that the run knows; the runs of all seeds, in their order.

    Notes
    -----
    Images have the shape (n, height, width) or (n, height, width, channels), or are rows of the pixels of a square.
    Images are gray or have three colours. Pixels are 0 to 255, or 0 to 1 as floats. Whole numbers of 0 to 255 are taken
    as they are; where all are below 32, such as digits of 0 to 16, a warning says that they are nearly black: bring
    them to 0 to 1. Other numbers are brought to the scale by the smallest and the largest of `fit`, with a warning.
    What later lies beyond the scale is cut off. The first Ctrl-C ends the search and leaves a fitted model, where `fit`
    runs in the main thread.

    Examples
    --------
    >>> model = AutoClassifier(studies=["knn"], trials=1, random_state=0)
    >>> model.fit(X, y).score(X_test, y_test)  # doctest: +SKIP
    0.97
    """

    __signature__: inspect.Signature  # which Python 3.11 would take from __new__
    classes_: NDArray[Any]
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    scale_: tuple[float, float]
    image_shape_: tuple[int, ...] | None
    ensemble_: StackedEnsemble
    best_estimator_: Any
    leaderboard_: pd.DataFrame
    trials_: pd.DataFrame
    run_: RunResults
    runs_: list[RunResults]

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Become a scikit-learn estimator with the first instance."""
        if _Bases in AutoClassifier.__bases__:
            from sklearn.base import BaseEstimator, ClassifierMixin

            AutoClassifier.__bases__ = (ClassifierMixin, BaseEstimator)
            AutoClassifier.__init_subclass__()
        return super().__new__(cls)

    def __init__(
        self,
        benchmark: str | Path = "all",
        *,
        studies: Sequence[str | Path] | None = None,
        budget: float | str | None = None,
        trials: int | None = None,
        seeds: int = 1,
        refit: str = "networks",
        mlruns: str | Path | None = None,
        n_jobs: int | None = None,
        verbose: int = 1,
        random_state: Any = None,
        allow_import: Sequence[str] = (),
    ) -> None:
        self.benchmark = benchmark
        self.studies = studies
        self.budget = budget
        self.trials = trials
        self.seeds = seeds
        self.refit = refit
        self.mlruns = mlruns
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state
        self.allow_import = allow_import

    def fit(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None = None) -> Self:
        """Search within the budget, choose the ensemble, write the report.

        Parameters
        ----------
        X : array-like or frame of shape (n, n_pixels), or images
        y : array-like of shape (n,)
            Labels of any kind, two classes or more. There are no weights of rows: no ensemble would count them.
        validation_data : (X_valid, y_valid) or None
            Rows that choose between models; None takes some of the rows.

        Raises
        ------
        InputError
            Something that cannot be used, a ValueError; or no trial was complete.
        """
        from fmnist_bench.automl.searching import best_of, check_parameters, refitted, search

        started = time.monotonic()
        check_parameters(self)
        dataset = self._dataset(X, y, validation_data)
        folder = Path(tempfile.mkdtemp(prefix="fmnist_bench-") if self.mlruns is None else self.mlruns)
        try:
            found = search(self, dataset, folder, started)
            self._load(*(chosen := best_of(found)))
            if self.refit == "full":
                self.ensemble_, self.best_estimator_ = refitted(self.ensemble_, self.best_estimator_, dataset)
            self.run_, self.runs_ = chosen[0], [run for run, _ in found]
        except BaseException:
            if self.mlruns is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if self.mlruns is None:
            for run in self.runs_[1:]:
                run.home = self.runs_[0]  # the folder goes with the last of them
            weakref.finalize(self.runs_[0], shutil.rmtree, folder, ignore_errors=True)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities of shape (n, n_classes), float64, in the order of `classes_`; each row sums to one."""
        pixels = self._pixels(X)
        found: NDArray[np.float64] = self.ensemble_.predict_proba(pixels)
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each row, of shape (n,)."""
        columns = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[columns]
        return found

    def report(self, X_test: Any = None, y_test: ArrayLike | None = None) -> Path:
        """Give the report of the run, by test rows where they are handed over.

        Parameters
        ----------
        X_test : array-like or frame of shape (n, n_pixels), or images
        y_test : array-like of shape (n,)
            Test rows that nothing has seen. They are opened once: the report may be written again with the same rows,
            not with others.

        Returns
        -------
        Path
            ``report.html``, one file that needs no network.

        Raises
        ------
        InputError
            Where other test rows have been opened before, all of them are rows of `fit`, or the run is gone.
        """
        from sklearn.utils.validation import check_is_fitted, column_or_1d

        from fmnist_bench.automl.results import leaderboard_of
        from fmnist_bench.data.arrays import dataset_of
        from fmnist_bench.runner import rewrite_report
        from fmnist_bench.storage.run_folder import STATE

        check_is_fitted(self, "run_")
        if not (self.run_.folder / STATE).is_file():
            raise InputError(f"{self.run_.folder}: the run is gone; where it was moved, set run_ = load_run(FOLDER)")
        if (X_test is None) != (y_test is None):
            raise InputError("report: needs X_test and y_test, or neither")
        if X_test is not None:
            test = dataset_of(self._pixels(X_test), column_or_1d(y_test), self.classes_, self.image_shape_)
            findings = rewrite_report(self.run_.folder, allow_import=self.allow_import, test=test)
            if self.refit == "full":  # what was trained on all rows is nowhere else
                self.leaderboard_ = leaderboard_of(findings)
            else:
                self._load(self.run_, findings)
        return self.run_.folder / "report.html"

    def save(self, folder: str | Path) -> None:
        """Write the fitted model as a folder that `load` reads; one that is there is replaced.

        The ensemble is kept, what is predicted from it, and the leaderboard; the run stays where it is.

        Parameters
        ----------
        folder : str or Path
            Within it ``ensemble`` is a folder for `load_ensemble`.

        Raises
        ------
        InputError
            Where something else is there.
        """
        from fmnist_bench.automl.saved import save_classifier

        save_classifier(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, allow_import: Sequence[str] = ()) -> Self:
        """Load what `save` wrote; nothing in it is unpickled.

        Parameters
        ----------
        folder : str or Path
        allow_import : sequence of str
            Prefixes of further types that members may be made of.

        Raises
        ------
        InputError
            Where a file is missing, has changed, or holds a type that is not trusted.
        """
        from fmnist_bench.automl.saved import load_classifier

        return load_classifier(cls(allow_import=allow_import), Path(folder))

    def _dataset(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None) -> Dataset:
        """Check rows and labels of `fit`, remember what they are like, and make a data set of them."""
        import numpy as np
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import column_or_1d, validate_data

        from fmnist_bench.data.arrays import check_lengths, dataset_of, scale_of
        from fmnist_bench.data.pixels import as_rows, image_shape_of

        self.image_shape_ = image_shape_of(X)
        rows, labels = validate_data(self, as_rows(X), y)
        check_classification_targets(labels)
        self.classes_, self.scale_ = np.unique(labels), scale_of(rows)
        if len(self.classes_) < 2:
            raise InputError(f"y: only one class, {self.classes_[0]!r}; at least 2 classes are needed")
        pixels, n_validation = self.scale_.pixels(rows), 0
        if validation_data is not None:
            extra, extra_labels = self._pixels(validation_data[0]), column_or_1d(validation_data[1])
            check_lengths(extra, extra_labels, "X_valid", "y_valid")
            pixels, labels = np.concatenate([pixels, extra]), np.concatenate([labels, extra_labels])
            n_validation = len(extra)
        return dataset_of(pixels, labels, self.classes_, self.image_shape_, n_validation)

    def _pixels(self, X: Any) -> NDArray[np.uint8]:
        """Check rows as those of `fit` were, and bring them to whole numbers of 0 to 255."""
        from sklearn.utils.validation import check_is_fitted, validate_data

        from fmnist_bench.data.arrays import Scale
        from fmnist_bench.data.pixels import as_rows, check_image_shape

        check_is_fitted(self, "scale_")
        check_image_shape(self.image_shape_, X)
        return Scale(*self.scale_).pixels(validate_data(self, as_rows(X), reset=False))

    def _load(self, run: RunResults, findings: Findings) -> None:
        """Load what a run has left; its report may have chosen the ensemble again."""
        from fmnist_bench.automl.results import leaderboard_of
        from fmnist_bench.ensemble.loading import load_ensemble
        from fmnist_bench.models.saved import load_model

        if findings.ensemble is None or findings.best_single is None:
            reasons = [trial.reason for trial in findings.failed if trial.reason]
            why = f"; the first failed so: {reasons[0]}" if reasons else "; the budget may be too short"
            raise InputError(f"no trial was complete{why}")
        self.ensemble_ = load_ensemble(run.folder / "ensemble", self.allow_import)
        best = findings.best_single
        known = dict(self.ensemble_.members_).get(f"{best.name}-{best.trial}")
        file = run.model_file(best.name, int(best.trial or 0))
        self.best_estimator_ = load_model(file, self.allow_import) if known is None else known
        self.leaderboard_, self.trials_ = leaderboard_of(findings), run.trials()


_of_init = inspect.signature(AutoClassifier.__init__)
AutoClassifier.__signature__ = _of_init.replace(parameters=list(_of_init.parameters.values())[1:])
