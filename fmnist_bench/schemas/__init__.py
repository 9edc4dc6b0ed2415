"""JSON Schemas of what the user writes and reads: studies, benchmarks, the events of a run."""

from pathlib import Path

NAMES = ("study", "benchmark", "event")


def schema_file(name: str) -> Path:
    """Path of the JSON Schema (draft 7) of a ``study``, a ``benchmark`` or an ``event``."""
    return Path(__file__).parent / f"{name}.json"
