"""JSON Schemas of what the user writes and reads: studies, benchmarks, the events of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("study", "benchmark", "event")


def schema_file(name: str) -> Path:
    """Path of the JSON Schema (draft 7) of a ``study``, a ``benchmark`` or an ``event``."""
    from pathlib import Path  # here: `--help` needs the names alone, and that at once

    return Path(__file__).parent / f"{name}.json"
