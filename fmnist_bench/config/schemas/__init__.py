"""JSON Schemas of what the user writes and reads: studies, benchmarks, the events of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("study", "benchmark", "event")


def schema(name: str) -> dict[str, Any]:
    """Give the JSON Schema (draft 7) of a ``study``, a ``benchmark`` or an ``event``."""
    import json

    from fmnist_bench.progress.json_events import event_schema

    return event_schema() if name == "event" else json.loads(schema_file(name).read_text(encoding="utf-8"))


def schema_file(name: str) -> Path:
    """Path of the JSON Schema of a ``study`` or a ``benchmark``, for editors."""
    from pathlib import Path  # here: `--help` needs the names alone, and that at once

    return Path(__file__).parent / f"{name}.json"
