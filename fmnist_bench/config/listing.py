"""What there is to run, by what the files say: nothing is built, no library is loaded."""

import textwrap
from pathlib import Path
from typing import Any

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.files import find_files, purpose, read_toml

LEAST = 24  # characters of what a study is for; where there is no room for them, it is left out
MORE = "python -m fmnist_bench list NAME shows the studies of a benchmark, or what a study searches"


def list_all(width: int = 80) -> str:
    """List every benchmark and every study, a line each, no longer than `width` where names allow it."""
    rows = {kind: [_row(kind, name, path) for name, path in find_files(kind).items()] for kind in KINDS}
    longest = max(len(name) for found in rows.values() for name, _ in found)
    lines = []
    for kind, found in rows.items():
        lines.append(kind)
        lines += [_line(name.ljust(longest), text, width) for name, text in found]
    return "\n".join([*lines, "", *textwrap.wrap(MORE, width, break_long_words=False)])


def _row(kind: str, name: str, path: Path) -> tuple[str, str]:
    try:
        return name, KINDS[kind](read_toml(path), path)
    except InputError as error:  # one bad file does not hide the others
        return name, f"cannot be used: {error}"


def _benchmark(table: dict[str, Any], path: Path) -> str:
    n, trials = len(table.get("studies", ())), table.get("trials")
    extent = str(table.get("budget", "")) or ("" if trials is None else f"trials of each study: {trials}")
    extent = extent or (f"{table['budget_per_task']} a run" if "budget_per_task" in table else "")
    data = table.get("data", "")
    data = ", ".join(map(str, data)) if isinstance(data, list) else str(data)
    return ", ".join(filter(None, (data, extent, f"{n} studies", purpose(path))))


def _study(table: dict[str, Any], path: Path) -> str:
    return purpose(path) or str(table.get("model", {}).get("use", ""))


def _line(name: str, text: str, width: int) -> str:
    room = width - len(name) - 4
    if len(text) > room:
        text = f"{text[: room - 1].rstrip()}…" if room >= LEAST else ""
    return f"  {name}  {text}".rstrip()


KINDS = {"benchmarks": _benchmark, "studies": _study}
