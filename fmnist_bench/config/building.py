"""From what a study says to objects: which classes it may name, which arguments they take, how they are built."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.space import Range, Spec, Steps, no_range
from fmnist_bench.models import HOMES
from fmnist_bench.models.saved import PLACES

ALLOWED_PREFIXES = ("fmnist_bench.", "sklearn.", "xgboost.")
# Of these packages a study may name what does nothing but learn, split or compare. Other classes open files or sockets
# when they are built.
KINDS = {
    "sklearn.base.BaseEstimator",
    "sklearn.gaussian_process.kernels.Kernel",
    "sklearn.model_selection._split.BaseCrossValidator",
    "sklearn.model_selection._split.BaseShuffleSplit",
    "sklearn.model_selection._split._RepeatedSplits",
}
CACHES = ("memory",)  # of joblib, which unpickles what it finds there
MISSPELT = 0.85  # likeness to a known argument above which one that goes into **kwargs is taken for a slip


def build(
    spec: Spec,
    values: Mapping[str, Any],
    prefix: str,
    where: str,
    allow_import: Sequence[str] = (),
    facts: Mapping[str, Any] = {},
) -> Any:
    """Construct the object that `spec` describes.

    Parameters
    ----------
    spec : Spec
    values : mapping
        A value for every range, under its scikit-learn name.
    prefix : str
        Name of the object among the parameters, such as ``model``.
    where : str
        File and table, for the message of an error.
    allow_import : sequence of str
        Prefixes of dotted names that may be imported beside `ALLOWED_PREFIXES`.
    facts : mapping
        What the run knows and a study does not, such as `random_state`: arguments of every class, at any depth, that
        has them and that would be None otherwise.

    Raises
    ------
    InputError
        Where the class is not allowed, does not exist, or does not take an argument.
    """
    target = resolve(spec.use, where, allow_import)
    _check_arguments(target, spec, where)
    made = {
        name: build(inner, values, name, f"{where}.{name.removeprefix(f'{prefix}__')}", allow_import, facts)
        for _, name, inner in spec.nested(prefix)
    }
    arguments: dict[str, Any] = {}
    for key, argument in spec.arguments.items():
        name = f"{prefix}__{key}"
        if isinstance(argument, Spec):
            arguments[key] = made[name]
        elif isinstance(argument, Steps):
            arguments[key] = [
                (step[0], made.get(f"{prefix}__{step[0]}", step[1]), *step[2:]) for step in argument.items
            ]
        elif not isinstance(argument, Range):
            arguments[key] = as_argument(target, key, argument, where)
        elif name in values or not argument.when:
            arguments[key] = as_argument(target, key, values[name], where)
    given = {key for key, value in arguments.items() if value is not None}
    arguments |= {key: facts[key] for key in _none_by_default(target) & facts.keys() - given}
    try:
        return target(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {spec.use} refuses its arguments: {error}") from error


def as_argument(target: type, key: str, value: Any, where: str) -> Any:
    """Give a value of a study as the class takes it.

    A list becomes a tuple where scikit-learn asks for one. The keys of a dictionary become whole numbers where all of
    them are, such as the labels of ``class_weight``.

    Raises
    ------
    InputError
        Where the argument names files, or a dictionary is none that the class takes.
    """
    _refuse_places(target, key, where)
    value, declared = _with_whole_keys(value), getattr(target, "_parameter_constraints", {}).get(key)
    constraints = declared if isinstance(declared, list) else None
    if isinstance(value, list) and constraints and not _fits(value, constraints) and _fits(tuple(value), constraints):
        return tuple(value)
    if isinstance(value, dict) and not _takes_dictionary(target, value, constraints):
        raise InputError(f"{where}.{key}: {target.__name__} takes no dictionary there; {no_range(value)}")
    return value


def _with_whole_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_whole_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    whole = all(str(key).removeprefix("-").isdecimal() for key in value)
    return {int(key) if whole else key: _with_whole_keys(item) for key, item in value.items()}


def _fits(value: Any, constraints: list[Any]) -> bool:
    from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

    try:
        validate_parameter_constraints({"it": constraints}, {"it": value}, caller_name="")
    except InvalidParameterError:
        return False
    return True


def _takes_dictionary(target: type, value: dict[Any, Any], constraints: list[Any] | None) -> bool:
    """Whether a class takes a dictionary there, as far as it says; one of words may be a range that is misspelt."""
    if constraints is not None:
        return _fits(value, constraints)
    return not target.__module__.startswith(ALLOWED_PREFIXES) or all(isinstance(key, int) for key in value)


def is_allowed(use: str, allow_import: Sequence[str] = ()) -> bool:
    """Whether a study may name something of this module."""
    return use.startswith(_prefixes(allow_import))


def module_of(use: str) -> str:
    """Name the module that defines what a study names; importing it loads what the class needs."""
    module, _, name = use.rpartition(".")
    return HOMES.get(name, module) if module == "fmnist_bench.models" else module


def _prefixes(allow_import: Sequence[str]) -> tuple[str, ...]:
    return (*ALLOWED_PREFIXES, *(p if p.endswith(".") else p + "." for p in allow_import))


def resolve(use: str, where: str, allow_import: Sequence[str] = ()) -> Any:
    """Import the class with the dotted name `use`, if a study may name it.

    It must be defined below an allowed prefix, not only be found there. Of the packages that are always allowed it
    must be an estimator, a transformer, a splitter or a kernel.
    """
    if not is_allowed(use, allow_import):
        raise _not_allowed(f"{where}.use: {use}", allow_import)
    module_name, _, name = use.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        target = getattr(module, name, None)  # which a package may import only now
    except ImportError as error:
        raise InputError(f"{where}.use: cannot import {module_name}: {error}") from error
    if not inspect.isclass(target):
        raise InputError(f"{where}.use: {module_name} has no class {name}{nearest(name, dir(module))}")
    home = f"{target.__module__}."
    if not is_allowed(home, allow_import):
        raise _not_allowed(f"{where}.use: {use} is {home}{name}, which", allow_import)
    kinds = {f"{base.__module__}.{base.__qualname__}" for base in target.__mro__}
    if home.startswith(ALLOWED_PREFIXES) and not kinds & KINDS:
        raise InputError(f"{where}.use: {use} is not allowed: it is no estimator, transformer, splitter or kernel")
    return target


def _not_allowed(what: str, allow_import: Sequence[str]) -> InputError:
    allowed = ", ".join(f"{prefix}*" for prefix in _prefixes(allow_import))
    return InputError(f"{what} is not allowed; allowed are {allowed} (--allow-import PREFIX adds one)")


def _check_arguments(target: Any, spec: Spec, where: str) -> None:
    allowed, takes_more = _arguments_of(target)
    for key, argument in spec.arguments.items():
        _refuse_places(target, key, where)
        likely = nearest(key, allowed, MISSPELT) if takes_more else nearest(key, allowed)
        if key not in allowed and (likely or not takes_more):
            raise InputError(f"{where}.{key}: {spec.use} has no such argument{likely}")
        for name in (step[0] for step in argument.items) if isinstance(argument, Steps) else ():
            if name in allowed:
                raise InputError(f"{where}.{key}: {name} cannot name an object: {spec.use} has an argument {name}")


def _arguments_of(target: Any) -> tuple[list[str], bool]:
    """Give the names of the arguments, and whether there may be others."""
    parameters = inspect.signature(target).parameters
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if getattr(target, "free_arguments", False):
        return [], True
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and hasattr(target, "get_params"):
        return list(target().get_params()), True
    return names, False


def _none_by_default(target: Any) -> set[str]:
    """Give the names of the arguments that are None where nobody gives them; a splitter takes none but the study's."""
    if not hasattr(target, "get_params"):
        return set()
    parameters = inspect.signature(target).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        defaults |= target().get_params()
    return {name for name, default in defaults.items() if default is None}


def _refuse_places(target: type, key: str, where: str) -> None:
    """A study may come from a stranger, and so may files beside it."""
    ours = target.__module__.startswith("fmnist_bench.")
    if key in CACHES or (ours and key in PLACES):
        raise InputError(f"{where}.{key}: a study may not name files or caches")
