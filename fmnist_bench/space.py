"""What a study file says of one object: a class, its constants, its ranges, its nested objects."""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_bench.errors import InputError, nearest

ALLOWED_PREFIXES = ("fmnist_bench.", "sklearn.", "xgboost.")
SCALARS = (bool, int, float, str)
GRID = 1e-6  # of a step that a value may lie beside it: rounding


@dataclass(frozen=True)
class Range:
    """Values that a search may choose from: an interval, or a list of choices.

    Parameters
    ----------
    low, high : int or float
        Both ends belong to the interval; two integers make an integer range.
    log : bool
        Search on a logarithmic scale; needs ``low > 0`` and no `step`.
    step : int, float or None
        Distance between two values.
    choices : tuple of scalars
        Categorical choices; empty for an interval.
    when : tuple of (str, tuple)
        Full names of other parameters and those of their values with which this one takes part; empty for always.
    """

    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def is_integer(self) -> bool:
        """Whether the interval is one of integers."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    def is_active(self, parameters: Mapping[str, Any]) -> bool:
        """Whether it takes part beside these values of the others."""
        return all(name in parameters and parameters[name] in values for name, values in self.when)

    def contains(self, value: Any) -> bool:
        """Whether `value` may come out of this range."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        step = None if self.log and self.step else self.step or (1 if self.is_integer else None)
        return step is None or abs((value - self.low) / step - round((value - self.low) / step)) < GRID

    def __str__(self) -> str:
        if self.choices:
            return "{" + ", ".join(map(str, self.choices)) + "}"
        return f"[{self.low}, {self.high}]" + (" log" if self.log else "") + (f" step {self.step}" if self.step else "")


@dataclass(frozen=True)
class Spec:
    """One object of a study: the dotted name of its class and the arguments of its constructor."""

    use: str
    arguments: Mapping[str, Any]

    @property
    def class_name(self) -> str:
        """Name of the class, without its module."""
        return self.use.rpartition(".")[2]

    def uses(self) -> Iterator[str]:
        """Yield the dotted name of this class and of those nested in it."""
        yield self.use
        for argument in self.arguments.values():
            if isinstance(argument, Spec):
                yield from argument.uses()


def parse_spec(table: Any, where: str) -> Spec:
    """Read a TOML table with the key ``use``.

    Raises
    ------
    InputError
        Where the table has no ``use``, or an argument is no constant, no range and no nested table.
    """
    if not isinstance(table, dict) or not isinstance(table.get("use"), str):
        raise InputError(f'{where}: expected a table with use = "package.module.Class"')
    return Spec(table["use"], {k: _parse_argument(v, f"{where}.{k}") for k, v in table.items() if k != "use"})


def _parse_argument(value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return value
    if "use" in value:
        return parse_spec(value, where)
    return _parse_range(value, where)


def _parse_range(table: Mapping[str, Any], where: str) -> Range:
    if set(table) == {"choices"}:
        return Range(choices=_checked_choices(table["choices"], where))
    unknown = set(table) - {"low", "high", "log", "step"}
    if unknown or not {"low", "high"} <= set(table):
        found = ", ".join(sorted(table)) or "nothing"
        raise InputError(f"{where}: a range is {{low, high[, log][, step]}} or {{choices}}, found {{{found}}}")
    _check_interval(table, where)
    return Range(**table)


def _checked_choices(choices: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(choices, list) or not choices:
        raise InputError(f"{where}.choices: expected a list with at least one value, found {choices!r}")
    if not all(isinstance(choice, SCALARS) for choice in choices):
        raise InputError(f"{where}.choices: every choice must be a boolean, a number or a string, found {choices!r}")
    return tuple(choices)


def _check_interval(table: Mapping[str, Any], where: str) -> None:
    for key in ("low", "high", "step"):
        value = table.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            raise InputError(f"{where}.{key}: expected a number, found {value!r}")
    if not isinstance(table.get("log", False), bool):
        raise InputError(f"{where}.log: expected true or false, found {table['log']!r}")
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    if low >= high:
        raise InputError(f"{where}: the range is empty, low = {low} must be less than high = {high}")
    if log and (low <= 0 or step is not None):
        raise InputError(f"{where}: log = true needs low > 0 (found {low}) and no step")
    if step is not None and step <= 0:
        raise InputError(f"{where}.step: expected a number above 0, found {step}")
    if all(isinstance(end, int) for end in (low, high)) and step is not None and not isinstance(step, int):
        raise InputError(f"{where}.step: expected a whole number between whole numbers, found {step}; or low = {low}.0")


def ranges(spec: Spec, prefix: str) -> Iterator[tuple[str, Range]]:
    """Yield every range of `spec` under its scikit-learn name, such as ``model__learning_rate``."""
    for key, argument in spec.arguments.items():
        name = f"{prefix}__{key}"
        if isinstance(argument, Range):
            yield name, argument
        elif isinstance(argument, Spec):
            yield from ranges(argument, name)


def constants_of(spec: Spec, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every constant of `spec` under its scikit-learn name, and the class under the name of the object."""
    yield prefix, spec.use
    for key, argument in spec.arguments.items():
        name = f"{prefix}__{key}"
        if isinstance(argument, Spec):
            yield from constants_of(argument, name)
        elif not isinstance(argument, Range):
            yield name, argument


def build(spec: Spec, values: Mapping[str, Any], prefix: str, where: str, allow_import: Sequence[str] = ()) -> Any:
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

    Raises
    ------
    InputError
        Where the class is not allowed, does not exist, or does not take an argument.
    """
    target = resolve(spec.use, where, allow_import)
    _check_arguments(target, spec, where)
    arguments: dict[str, Any] = {}
    for key, argument in spec.arguments.items():
        name = f"{prefix}__{key}"
        if isinstance(argument, Spec):
            arguments[key] = build(argument, values, name, f"{where}.{key}", allow_import)
        elif not isinstance(argument, Range):
            arguments[key] = argument
        elif name in values or not argument.when:
            arguments[key] = values[name]
    try:
        return target(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {spec.use} refuses its arguments: {error}") from error


def is_allowed(use: str, allow_import: Sequence[str] = ()) -> bool:
    """Whether a study may name this class."""
    return use.startswith(_prefixes(allow_import))


def _prefixes(allow_import: Sequence[str]) -> tuple[str, ...]:
    return (*ALLOWED_PREFIXES, *(p if p.endswith(".") else p + "." for p in allow_import))


def resolve(use: str, where: str, allow_import: Sequence[str] = ()) -> Any:
    """Import the class with the dotted name `use`, if its prefix is allowed."""
    if not is_allowed(use, allow_import):
        prefixes = _prefixes(allow_import)
        raise InputError(
            f"{where}.use: {use} is not allowed; allowed are {', '.join(p + '*' for p in prefixes)} "
            "(--allow-import PREFIX adds one)"
        )
    module_name, _, name = use.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"{where}.use: cannot import {module_name}: {error}") from error
    target = getattr(module, name, None)
    if not inspect.isclass(target):
        raise InputError(f"{where}.use: {module_name} has no class {name}{nearest(name, dir(module))}")
    return target


def _check_arguments(target: Any, spec: Spec, where: str) -> None:
    if getattr(target, "free_arguments", False):
        return
    parameters = inspect.signature(target).parameters
    allowed = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and hasattr(target, "get_params"):
        allowed = list(target().get_params())
    for key in spec.arguments:
        if key not in allowed:
            raise InputError(f"{where}.{key}: {spec.use} has no such argument{nearest(key, allowed)}")
