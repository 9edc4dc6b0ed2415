"""Standard streams: closed ones are opened to nowhere, messages and warnings are one line each."""

import logging
import os
import shutil
import sys

from fmnist_bench._utils.errors import one_line

COLOURS = {"bold": 1, "red": 31, "green": 32, "yellow": 33}


def open_closed_streams() -> None:
    """Open standard streams that are closed (``>&-``) to nowhere; else the next file opened would take their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def say_no_more() -> None:
    """Send what is left to say nowhere; Python itself would complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_messages() -> None:
    """Let the package say where it looks for data and what it downloads."""
    logger = logging.getLogger("fmnist_bench")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())


def warning_in_one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Show what is said to the user without the line of the program that says it; other warnings with it."""
    where = "" if category is UserWarning else f" ({category.__name__}, {filename}, line {lineno})"
    return f"warning: {one_line(message)}{where}\n"


def say_first(text: str) -> None:
    """Say on a terminal what happens, before libraries are loaded; loading them takes seconds."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def columns() -> int:
    """Columns of the terminal; as many as anybody wants where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def painted(text: str, colour: str) -> str:
    """Paint a text on a terminal, unless the user wants none (no-color.org)."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"
