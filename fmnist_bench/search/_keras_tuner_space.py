"""Ranges of a study as KerasTuner's hyperparameters, and values there and back.

Importing it loads TensorFlow: some seconds and half a GiB, but no operation runs, so that no thread pool starts and
no GPU is taken.
"""

import math
from collections.abc import Mapping
from typing import Any

from fmnist_bench._utils.processes import silent_stderr
from fmnist_bench.config.space import Range

with silent_stderr():  # TensorFlow's greetings
    import keras_tuner as keras_tuner
    from keras_tuner.engine import hyperparameters as kinds
    from keras_tuner.src.engine.conditions import Parent


def hyperparameters(ranges: Mapping[str, Range]) -> Any:
    """Write the ranges of a study as the HyperParameters of KerasTuner."""
    space = keras_tuner.HyperParameters()
    for name, own in ranges.items():
        conditions = [Parent(other, [encode(ranges[other], value) for value in values]) for other, values in own.when]
        space.merge([_hyperparameter(own, name=name, conditions=conditions)])
    return space


def _hyperparameter(own: Range, **shared: Any) -> Any:
    if own.choices and _is_boolean(own):
        return kinds.Boolean(**shared)
    if own.choices:
        values = range(len(own.choices)) if _is_mixed(own) else own.choices
        return kinds.Choice(values=list(values), ordered=False, **shared)
    sampling = "log" if own.log else "linear"
    if own.is_integer:
        step = None if own.log else int(own.step or 1)
        return kinds.Int(min_value=int(own.low), max_value=int(own.high), step=step, sampling=sampling, **shared)
    if own.step is not None:  # KerasTuner would lose the last value to rounding: 1.0 // 0.1 is 9
        return kinds.Int(min_value=0, max_value=math.floor((own.high - own.low) / own.step + 1e-9), **shared)
    return kinds.Float(min_value=own.low, max_value=own.high, sampling=sampling, **shared)


def encode(own: Range, value: Any) -> Any:
    """Give a value of a range as KerasTuner keeps it."""
    if own.choices:
        return own.choices.index(value) if _is_mixed(own) else value
    return value if own.step is None or own.is_integer else round((value - own.low) / own.step)


def decode(own: Range, value: Any) -> Any:
    """Give back the value of a range; numbers that rounding has carried over an end of it are brought back."""
    if own.choices:
        return own.choices[value] if _is_mixed(own) else value
    if own.is_integer:
        return int(min(max(value, own.low), own.high))
    number = value if own.step is None else round(own.low + value * own.step, 12)
    return float(min(max(number, own.low), own.high))


def _is_boolean(own: Range) -> bool:
    return len(own.choices) == 2 and all(type(choice) is bool for choice in own.choices) and len(set(own.choices)) == 2


def _is_mixed(own: Range) -> bool:
    """Whether a choice goes by its place: KerasTuner wants values of one type, numbers or strings."""
    kinds_of = {type(choice) for choice in own.choices}
    return not _is_boolean(own) and (len(kinds_of) > 1 or not kinds_of <= {int, float, str})
