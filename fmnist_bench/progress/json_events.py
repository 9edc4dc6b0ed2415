"""The events of a run as JSON, one object a line, for scripts; their JSON Schema is made from the same classes."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, NamedTuple, TextIO, get_args, get_origin, get_type_hints

from fmnist_bench.progress.events import Progress

TIME = {"type": "number", "description": "When, in seconds since 1970 (UTC)."}
TYPES = {str: "string", int: "integer", float: "number"}


class Bounds(NamedTuple):
    """What a number lies within."""

    minimum: int
    maximum: int | None = None


Share = Annotated[float, Bounds(0, 1)]
NotNegative = Annotated[float, Bounds(0)]
Status = Literal[
    "complete", "prepared", "pruned", "timeout", "out_of_memory", "crashed", "failed", "no_weights", "interrupted"
]


@dataclass(frozen=True)
class Started:
    """The search begins."""

    benchmark: Annotated[str, "Name of the benchmark."]
    budget_seconds: Annotated[float | None, "Seconds that are left from now on; null is no limit."]
    studies: Annotated[list[str], "Names of the studies."]


@dataclass(frozen=True)
class Trial:
    """A trial has ended."""

    study: Annotated[str, "Name of the study."]
    trial: Annotated[
        int,
        Bounds(-1),
        "Number of the trial within its study; -1 is what the study's augmentation learns before the first.",
    ]
    status: Annotated[Status, "How it ended."]
    valid_accuracy: Annotated[Share | None, "Share of the validation rows; null without a score."]
    seconds: Annotated[NotNegative, "Wall-clock time of the trial."]
    reason: Annotated[str, "Why it is not complete; else empty."]


@dataclass(frozen=True)
class Message:
    """Something in plain words."""

    text: Annotated[str, "What is said."]


@dataclass(frozen=True)
class Model:
    """What the ensemble, or the best model of a study, is worth."""

    name: Annotated[str, "ensemble, or the study."]
    valid_accuracy: Annotated[Share | None, "Share of the validation rows."]
    test_accuracy: Annotated[Share | None, "Share of the test rows."]
    test_low: Annotated[Share | None, "Lower end of the 95 % interval."]
    test_high: Annotated[Share | None, "Upper end of the 95 % interval."]
    test_log_loss: Annotated[NotNegative | None, "Natural logarithm."]
    test_calibration_error: Annotated[Share | None, "Expected calibration error on the test rows."]


@dataclass(frozen=True)
class Result:
    """What was found. The last line of a run that came to its end."""

    folder: Annotated[str, "Folder of the run."]
    report: Annotated[str, "The report, an HTML file."]
    ensemble: Annotated[str | None, "Folder of the ensemble for load_ensemble; null where no trial was complete."]
    seconds: Annotated[NotNegative, "Of the budget that were used."]
    models: Annotated[list[Model], "The ensemble, then the best model of each study."]


KINDS = (Started, Trial, Message, Result)


class JsonLines(Progress):
    """One JSON object a line: that the search began, each trial that ended, messages, the result.

    Parameters
    ----------
    stream : file object
        Where the lines go; flushed after each.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def run_started(self, title: str, budget: float | None, studies: list[str], spent: float = 0.0) -> None:  # noqa: D102
        self._write(Started(title, None if budget is None else max(budget - spent, 0.0), studies))

    def trial_ended(  # noqa: D102
        self, study: str, number: int, status: Any, valid_accuracy: float | None, seconds: float, reason: str = ""
    ) -> None:
        self._write(Trial(study, number, status, valid_accuracy, seconds, reason))

    def message(self, text: str) -> None:  # noqa: D102
        self._write(Message(text))

    def result(self, summary: Mapping[str, Any]) -> None:  # noqa: D102
        self._write(Result(**summary))

    def _write(self, event: Started | Trial | Message | Result) -> None:
        line = {"event": _name(type(event)), "time": round(time.time(), 3), **_finite(asdict(event))}
        self._stream.write(json.dumps(line, allow_nan=False) + "\n")  # at once: trials report from threads of their own
        self._stream.flush()


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold, such as the score of a network that diverged, by null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def event_schema() -> dict[str, Any]:
    """Write the JSON Schema (draft 7) of one line."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Event",
        "description": "One line of what run --json prints.",
        "oneOf": [_object(kind, event={"type": "string", "enum": [_name(kind)]}, time=TIME) for kind in KINDS],
        "definitions": {_name(Model): _object(Model)},
    }


def _name(kind: type) -> str:
    return kind.__name__.lower()


def _object(kind: type, **first: Any) -> dict[str, Any]:
    """Describe a class: each of its fields is required, and there are no others."""
    hints = get_type_hints(kind, include_extras=True)
    properties = first | {name: _schema(hint) for name, hint in hints.items()}
    head = {"title": _name(kind), "description": kind.__doc__, "type": "object", "additionalProperties": False}
    return {**head, "required": list(properties), "properties": properties}


def _schema(hint: Any) -> dict[str, Any]:
    """Describe a type; what `Annotated` adds to it are its description and its bounds."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = _schema(parts[0])
        for note in hint.__metadata__:
            keys = {"description": note} if isinstance(note, str) else note._asdict()
            found |= {key: value for key, value in keys.items() if value is not None}
        return found
    if origin is Literal:
        return {"type": "string", "enum": list(parts)}
    if origin is list:
        return {"type": "array", "items": _schema(parts[0])}
    if parts:  # a union with None
        own = _schema(parts[0])
        return {**own, "type": [own["type"], "null"]}
    return {"type": TYPES[hint]} if hint in TYPES else {"$ref": f"#/definitions/{_name(hint)}"}
