"""Figures that a benchmark script keeps as soon as they are measured, so that a call that was stopped can go on."""

import json
from pathlib import Path
from typing import Any

from fmnist_bench._utils.environment import backend, machine
from fmnist_bench._utils.files import write_text

ROOT = Path(__file__).resolve().parents[1]


def kept(script: str) -> Path:
    """Where a script keeps its figures: beside it, those of a GPU or another back end than TensorFlow apart."""
    path, on_gpu, name = Path(script).resolve(), "GPU" in machine(), backend()
    marks = [path.stem, *(["gpu"] if on_gpu else []), *([name] if on_gpu or name != "tensorflow" else [])]
    return path.with_name(f"{'-'.join(marks)}.json")


def open_figures(path: Path, **settings: Any) -> dict[str, Any]:
    """Read what was measured; nothing where there is none.

    Raises
    ------
    SystemExit
        Where it was measured on another processor or GPU, or with other `settings`: such figures must not share a page.
    """
    there = machine()
    own = {key: there[key] for key in ("processor", "GPU") if key in there} | settings
    if not path.exists():
        return {"measured": own}
    found: dict[str, Any] = json.loads(path.read_text())
    if found["measured"] != own:
        raise SystemExit(f"{path}: was measured with {found['measured']}, not {own}; move it away to measure anew")
    return found


def commands(script: str, found: dict[str, Any], calls: list[str]) -> str:
    """Name the commands that measured something, with the back end that a GPU was used by."""
    _, _, networks_on = found["measured"].get("GPU", "").rpartition("(networks on ")
    variable = f"KERAS_BACKEND={networks_on.rstrip(')')} " if networks_on else ""
    place = Path(script).resolve().relative_to(ROOT)
    return "; ".join(f"`{variable}python {place}{call}`" for call in calls)


def keep_figures(path: Path, found: dict[str, Any]) -> None:
    """Write what was measured."""
    write_text(path, json.dumps(found, indent=1) + "\n")
