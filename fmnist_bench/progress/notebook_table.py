"""The live table of a run in a notebook: one output of the cell, replaced once a second."""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fmnist_bench.progress.live_table import LiveTable

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH, HEIGHT = 100, 100  # in characters; a notebook scrolls
MESSAGES = 20  # the newest ones, below the table
SECONDS = 1.0
PAGE = '<pre style="line-height: 1.2; white-space: pre; font-family: monospace">{code}</pre>'


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook; false where IPython was never imported, and in its terminal."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def show_figures() -> None:
    """Let a notebook show figures as pictures; by itself it does so when pyplot is imported, which nobody needs."""
    if in_notebook() and "matplotlib.pyplot" not in sys.modules:
        from matplotlib_inline import backend_inline

        inline: Any = backend_inline
        inline.set_matplotlib_formats("png")


class NotebookTable(LiveTable):
    """`LiveTable` in the output of a cell, by IPython's display handle; needs no widgets."""

    def __init__(self) -> None:
        from rich.console import Console

        self._said = deque[str](maxlen=MESSAGES)
        super().__init__(Console(file=io.StringIO(), width=WIDTH, height=HEIGHT, force_jupyter=False))

    def _screen(self) -> Any:
        return _Cell(self._html)

    def message(self, text: str) -> None:  # noqa: D102
        with self._lock:
            self._said.append(" ".join(text.split()))

    def _tell_fault(self, text: str) -> None:
        self.message(text)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            return Group(super()._draw(), *map(Text, self._said))

    def _html(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=WIDTH, force_jupyter=False)  # which would display it
        console.print(self._draw())
        return str(console.export_html(inline_styles=True, code_format=PAGE))


class _Cell:
    """What draws in the output of the cell that is running; it starts and stops as rich's `Live` does."""

    def __init__(self, html: Callable[[], str]) -> None:
        self._html, self._over = html, threading.Event()
        self._handle: Any = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self, refresh: bool = True) -> None:
        from IPython import display

        ipython: Any = display
        self._handle = ipython.display(ipython.HTML(self._html()), display_id=True)
        self._thread.start()

    def stop(self) -> None:
        if self._handle is not None and not self._over.is_set():
            self._over.set()
            self._thread.join()
            self._show()

    def _follow(self) -> None:
        while not self._over.wait(SECONDS):
            self._show()

    def _show(self) -> None:
        from IPython import display

        ipython: Any = display
        self._handle.update(ipython.HTML(self._html()))
