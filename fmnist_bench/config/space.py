"""What a study file says of one object: a class, its constants, its ranges, its nested objects."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_bench._utils.errors import InputError

SCALARS = (bool, int, float, str)
RANGE_KEYS = ("low", "high", "log", "step", "choices")
LARGEST = 2**53  # whole number of a range: above it neighbours are the same to a sampler, which computes with floats
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
    choices : tuple
        Categorical choices, such as ``("gini", None)`` or ``([64], [64, 32])``; empty for an interval.
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

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every choice, or both ends of the interval."""
        return self.choices or (self.low, self.high)

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

    def nested(self, prefix: str) -> Iterator[tuple[str, str, "Spec"]]:
        """Yield each object among the arguments: key of the argument, scikit-learn's name of the object, the object."""
        for key, argument in self.arguments.items():
            if isinstance(argument, Spec):
                yield key, f"{prefix}__{key}", argument
            elif isinstance(argument, Steps):
                steps = (step for step in argument.items if isinstance(step[1], Spec))
                yield from ((key, f"{prefix}__{step[0]}", step[1]) for step in steps)

    def uses(self) -> Iterator[str]:
        """Yield the dotted name of this class and of those nested in it."""
        yield self.use
        for _, _, spec in self.nested(""):
            yield from spec.uses()


@dataclass(frozen=True)
class Steps:
    """A list of named objects, as `Pipeline`, `FeatureUnion`, `VotingClassifier` and `ColumnTransformer` take it.

    Parameters
    ----------
    items : tuple of tuple
        Each a name, a `Spec` or a word such as ``"passthrough"``, and what else belongs to it, such as columns.
    """

    items: tuple[tuple[Any, ...], ...]


def default_names(specs: Sequence[Spec]) -> list[str]:
    """Name objects as `sklearn.pipeline.make_pipeline` does: after their classes, numbered where these are the same."""
    names = [spec.class_name.lower() for spec in specs]
    return [
        name if names.count(name) == 1 else f"{name}-{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


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
    if _names_class(value):
        return parse_spec(value, where)
    if isinstance(value, list) and any(map(_holds_object, value)):
        return _parse_steps(value, where)
    if isinstance(value, dict) and (not value or value.keys() & set(RANGE_KEYS)):
        return _parse_range(value, where)
    return parse_value(value, where)


def parse_value(value: Any, where: str) -> Any:
    """Read a value from TOML: a scalar, a list, a dictionary; ``{ none = true }`` is None.

    Raises
    ------
    InputError
        Where it is, or holds, anything else: a range, an object, a date.
    """
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, list):
        return [parse_value(item, where) for item in value]
    if isinstance(value, dict) and list(value) == ["none"] and value["none"] is True:
        return None
    if isinstance(value, dict) and value and not value.keys() & {"use", "none", *RANGE_KEYS}:
        return {key: parse_value(item, f"{where}.{key}") for key, item in value.items()}
    raise InputError(
        f"{where}: must be a number, a string, true or false, {{ none = true }}, or a list or a dictionary of them, "
        f"found {value!r}"
    )


def _names_class(value: Any) -> bool:
    return isinstance(value, dict) and "use" in value


def _holds_object(item: Any) -> bool:
    return _names_class(item) or (isinstance(item, list) and any(map(_names_class, item)))


def _parse_steps(items: Sequence[Any], where: str) -> Steps:
    """Read a list of objects, each a table or a list of a name, a table and what else belongs to it."""
    steps = [_parse_step(item, where) for item in items]
    unnamed = [step[1] for step in steps if not step[0]]
    names = iter(default_names(unnamed))
    named = tuple((step[0] or next(names), *step[1:]) for step in steps)
    found = [step[0] for step in named]
    for name in found:
        if found.count(name) > 1 or "__" in name:
            raise InputError(f"{where}: {name} cannot name an object: each name must be there once and hold no __")
    return Steps(named)


def _parse_step(item: Any, where: str) -> tuple[Any, ...]:
    if _names_class(item):
        return "", parse_spec(item, where)
    if not isinstance(item, list) or len(item) < 2 or not isinstance(item[0], str) or not item[0]:
        raise InputError(
            f"{where}: in a list of objects each must be {{ use = ... }} or [name, {{ use = ... }}], found {item!r}"
        )
    name, value, *rest = item
    inner = f"{where}.{name}"
    made = parse_spec(value, inner) if _names_class(value) else parse_value(value, inner)
    return name, made, *(parse_value(other, inner) for other in rest)


def _parse_range(table: Mapping[str, Any], where: str) -> Range:
    if set(table) == {"choices"}:
        return Range(choices=_checked_choices(table["choices"], where))
    unknown = set(table) - {"low", "high", "log", "step"}
    if unknown or not {"low", "high"} <= set(table):
        raise InputError(f"{where}: {no_range(table)}")
    _check_interval(table, where)
    return Range(**table)


def no_range(table: Mapping[str, Any]) -> str:
    """Say what a range is, and what was found instead."""
    found = ", ".join(sorted(map(str, table))) or "nothing"
    return f"a range is {{low, high[, log][, step]}} or {{choices}}, found {{{found}}}"


def _checked_choices(choices: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(choices, list) or not choices:
        raise InputError(f"{where}.choices: expected a list with at least one value, found {choices!r}")
    return tuple(parse_value(choice, f"{where}.choices") for choice in choices)


def _check_interval(table: Mapping[str, Any], where: str) -> None:
    for key in ("low", "high", "step"):
        if not is_number(value := table.get(key, 1)):
            raise InputError(f"{where}.{key}: expected a number, found {value!r}")
    if not isinstance(table.get("log", False), bool):
        raise InputError(f"{where}.log: expected true or false, found {table['log']!r}")
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    if low >= high:
        raise InputError(f"{where}: the range is empty, low = {low} must be less than high = {high}")
    if not is_number(high - low):
        raise InputError(f"{where}: the range from {low} to {high} is too wide to draw from")
    if log and (low <= 0 or step is not None):
        raise InputError(f"{where}: log = true needs low > 0 (found {low}) and no step")
    if step is not None and step <= 0:
        raise InputError(f"{where}.step: expected a number above 0, found {step}")
    if all(isinstance(end, int) for end in (low, high)) and step is not None and not isinstance(step, int):
        raise InputError(f"{where}.step: expected a whole number between whole numbers, found {step}; or low = {low}.0")


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number that a sampler can compute with; a boolean is none."""
    if isinstance(value, bool):
        return False
    return abs(value) <= LARGEST if isinstance(value, int) else isinstance(value, float) and math.isfinite(value)


def ranges(spec: Spec, prefix: str) -> Iterator[tuple[str, Range]]:
    """Yield every range of `spec` under its scikit-learn name, such as ``model__learning_rate``."""
    return ((name, value) for name, value in _settings(spec, prefix) if isinstance(value, Range))


def constants_of(spec: Spec, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every constant of `spec` under its scikit-learn name, and the class under the name of the object."""
    return ((name, value) for name, value in _settings(spec, prefix) if not isinstance(value, Range))


def _settings(spec: Spec, prefix: str) -> Iterator[tuple[str, Any]]:
    yield prefix, spec.use
    nested = list(spec.nested(prefix))
    for key, argument in spec.arguments.items():
        if not isinstance(argument, Spec | Steps):
            yield f"{prefix}__{key}", argument
        for _, name, inner in (each for each in nested if each[0] == key):
            yield from _settings(inner, name)
