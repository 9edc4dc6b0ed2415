"""Ranges of a study as Optuna's distributions, and values there and back."""

import json
import warnings
from typing import Any

import optuna

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.space import Range
from fmnist_bench.config.study import Study

JSON = "json:"  # begins what is encoded


def distribution(own: Range) -> optuna.distributions.BaseDistribution:
    """Optuna's distribution over a range of a study."""
    if own.choices:
        return optuna.distributions.CategoricalDistribution(tuple(map(encode, own.choices)))
    if own.is_integer:
        return optuna.distributions.IntDistribution(int(own.low), int(own.high), own.log, int(own.step or 1))
    return optuna.distributions.FloatDistribution(own.low, own.high, own.log, own.step)


def encode(value: Any) -> Any:
    """Give a value of a range as Optuna keeps it: a list or a dictionary, which Optuna does not take, as JSON."""
    is_plain = not isinstance(value, (list, dict)) and not str(value).startswith(JSON)
    return value if is_plain else JSON + json.dumps(value)


def decode(value: Any) -> Any:
    """Give back a value that Optuna kept."""
    return json.loads(value.removeprefix(JSON)) if isinstance(value, str) and value.startswith(JSON) else value


def check_drawing(study: Study) -> None:
    """Draw once from every range of a study.

    Raises
    ------
    InputError
        Where Optuna cannot, such as with a step that is lost in rounding.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for name, own in study.ranges().items():
        try:
            with warnings.catch_warnings(action="ignore"):  # of a last step that is shorter
                optuna_study.ask({name: distribution(own)})
        except (ValueError, ArithmeticError) as error:
            raise InputError(
                f"study {study.space.name}: {name}: nothing can be drawn from {own}: {type(error).__name__}: {error}"
            ) from error
