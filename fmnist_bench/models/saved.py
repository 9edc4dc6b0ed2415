"""Models as files: written in skops' format, and read only where they are made of trusted types."""

import importlib
import inspect
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fmnist_bench._utils.archives import check_inflation, check_stored
from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench._utils.files import replacing

PLACES = ("cache_dir", "weights_dir", "generator")
Places = list[tuple[Any, dict[str, Any]]]  # parts of an estimator, and those parameters of each
PACKAGES = ("sklearn", "xgboost", "fmnist_bench")
NOT_IMPORTED = ("tests", "conftest", "testing", "_testing", "externals", "datasets", "spark", "dask", "__main__")

# What a trusted class derives from: estimators, and what scikit-learn and XGBoost keep in fitted ones.
KINDS = (
    "sklearn.base.BaseEstimator",
    "sklearn._loss.link.BaseLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.loss.BaseLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.Kernel",
    "sklearn.metrics._dist_metrics.DistanceMetric32",
    "sklearn.metrics._dist_metrics.DistanceMetric64",
    "sklearn.metrics._scorer._BaseScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.BaseCrossValidator",
    "sklearn.model_selection._split.BaseShuffleSplit",
    "sklearn.neighbors._ball_tree.BinaryTree32",
    "sklearn.neighbors._ball_tree.BinaryTree64",
    "sklearn.neighbors._kd_tree.BinaryTree32",
    "sklearn.neighbors._kd_tree.BinaryTree64",
    "sklearn.neural_network._stochastic_optimizers.BaseOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "xgboost.core.Booster",
)
# Functions that estimators take as a parameter: those that these modules export, and NumPy's that reduce an array.
FUNCTIONS = ("sklearn.feature_selection", "sklearn.metrics")
PAIRWISE = "sklearn.metrics.pairwise"  # it has no __all__
REDUCTIONS = ("max", "mean", "median", "min", "std", "sum", "var")
DATA = (  # of other packages, within LightGBM's models, imputers and splines
    "collections.OrderedDict",
    "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
)
SPARSE = "scipy.sparse."


def is_trusted(name: str) -> bool:
    """Whether a saved model may hold an object of this type, or this function.

    skops makes an object of a type by ``__new__`` and ``__setstate__``, but a file may also have it made by its
    constructor, with any arguments that are trusted themselves; and in the place of a type it may name a function,
    which is called in the same way. So nothing is trusted that does harm when it is called: not what writes or reads
    files, runs code or opens connections. The constructors of scikit-learn's and XGBoost's estimators keep their
    arguments and do no more; what else these packages define is trusted where it derives from one of `KINDS`. What
    they have only imported (such as ``sklearn.datasets._covtype.GzipFile``) is not theirs: a name counts only where
    the object itself says that it was defined there.

    Parameters
    ----------
    name : str
        As skops writes it: the module in which it is defined, and its name.

    Examples
    --------
    >>> is_trusted("sklearn.svm._classes.SVC"), is_trusted("sklearn.feature_selection._univariate_selection.chi2")
    (True, True)
    >>> is_trusted("sklearn.datasets._covtype.GzipFile"), is_trusted("numpy.load"), is_trusted("os.system")
    (False, False, False)
    """
    module, _, own = name.rpartition(".")
    if name in DATA or (module == "numpy" and own in REDUCTIONS):
        return True
    if name.startswith(SPARSE):
        found = _find("scipy.sparse", own)
        return inspect.isclass(found) and f"{found.__module__}.{own}" == name and _is_sparse(found)
    parts = module.split(".")
    if parts[0] not in PACKAGES or set(parts) & set(NOT_IMPORTED):
        return False
    found = _find(module, own)
    if getattr(found, "__module__", None) != module or getattr(found, "__qualname__", None) != own:
        return False
    return issubclass(found, _kinds()) if inspect.isclass(found) else _is_public_function(found)


def _find(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except Exception:  # whatever an optional part of a package raises where it cannot be imported
        return None


def _kinds() -> tuple[type, ...]:
    found = (_find(*kind.rsplit(".", 1)) for kind in KINDS)
    return tuple(kind for kind in found if inspect.isclass(kind))


def _is_sparse(kind: type) -> bool:
    from scipy.sparse import sparray, spmatrix

    return issubclass(kind, (sparray, spmatrix))


def _is_public_function(found: Any) -> bool:
    """Whether it is a score, a metric or a kernel that scikit-learn offers."""
    if not inspect.isfunction(found) or found.__name__.startswith("_"):
        return False
    exported = (name for name in FUNCTIONS if found.__name__ in _find(name, "__all__"))
    return found.__module__ == PAIRWISE or any(_find(name, found.__name__) is found for name in exported)


def save_model(estimator: Any, path: Path) -> None:
    """Write a fitted estimator to `path` in skops' format, whole or not at all."""
    import skops.io

    with replacing(path) as temporary:
        skops.io.dump(estimator, temporary)


def load_model(path: Path, allow_import: Sequence[str] = ()) -> Any:
    """Load what `save_model` wrote, if it is made of trusted types alone.

    Parameters
    ----------
    path : Path
    allow_import : sequence of str
        Prefixes of further types that it may be made of.

    Raises
    ------
    InputError
        Where the file is damaged or a bomb, or holds a type that is not trusted.
    """
    return load_named(path, str(path), allow_import)


def load_named(path: Path, what: str, allow_import: Sequence[str] = ()) -> Any:
    """Load as `load_model` does, and call the model `what` in messages."""
    import skops.io

    try:
        _check_sizes(path)
        foreign = skops.io.get_untrusted_types(file=path)
        refused = _refused(foreign, allow_import)
        if not refused:
            model = skops.io.load(path, trusted=foreign)
            if hasattr(model, "get_params"):
                forget_places(model)
            return model
    except Exception as error:
        raise InputError(f"{what}: not a readable model file: {one_line(error)}") from error
    raise InputError(
        f"{what}: holds types that are not trusted: {', '.join(refused)} "
        "(allow_import=[PREFIX], or --allow-import PREFIX, adds some)"
    )


def _refused(foreign: Sequence[str], allow_import: Sequence[str]) -> list[str]:
    prefixes = tuple(f"{p.removesuffix('.')}." for p in allow_import)
    return sorted(name for name in foreign if not name.startswith(prefixes) and not is_trusted(name))


def _check_sizes(path: Path) -> None:
    """Refuse a bomb; sparse matrices are archives of their own within, which SciPy has compressed."""
    with path.open("rb") as file:
        check_stored(file)
        with zipfile.ZipFile(file) as archive:
            for part in (name for name in archive.namelist() if name.endswith(".npz")):
                check_inflation(io.BytesIO(archive.read(part)))


def forget_places(estimator: Any) -> Places:
    """Unset the folders that a fit was given: a saved model must not know the machine that made it, nor write there.

    Those of classes of this package alone; what a user's own class means by such a name is not known. They are
    returned, for `set_places`.
    """
    places = []
    for part in _parts(estimator):
        parameters = part.get_params(deep=True)
        for name in parameters:
            owner, _, last = name.rpartition("__")
            if last in PLACES and _is_of_this_package(parameters[owner] if owner else part):
                places.append((part, {name: parameters[name]}))
                part.set_params(**{name: None})
    return places


def set_places(places: Places) -> None:
    """Set again what `forget_places` has unset."""
    for part, given in places:
        part.set_params(**given)


def _parts(estimator: Any) -> Iterator[Any]:
    found = estimator, getattr(estimator, "model_", None), getattr(estimator, "features_", None)
    return (part for part in found if part is not None)


def _is_of_this_package(part: Any) -> bool:
    return any(kind.__module__.partition(".")[0] == "fmnist_bench" for kind in type(part).__mro__)
