"""Classifiers of a stranger: good ones, but for one thing that each does wrong."""

import os
import signal
import subprocess
import sys
from typing import Any, Self

import numpy as np
from sklearn.naive_bayes import GaussianNB

TEST_ROWS = 297  # of digits: neither a trial nor its check predicts just so many
BAD = ("failed", "crashed")
ANY = ("complete", "failed", "crashed")
KINDS: dict[str, tuple[str, ...]] = {  # and how a trial of each may end
    "reversed": ("complete",),
    **dict.fromkeys(("more", "words", "ragged", "no_classes", "columns", "rows", "flat", "negative", "zeros"), BAD),
    **dict.fromkeys(("nan", "nothing", "surrogate", "escape", "endless", "unspeakable", "recursion"), BAD),
    **dict.fromkeys(("claims_complete", "claims_prepared", "unsaved", "unpicklable", "odd_score", "far_step"), BAD),
    **dict.fromkeys(("exits", "gone", "killed", "segfault", "interrupts", "unhearable"), BAD),
    **dict.fromkeys(("share_zero", "share_nan", "share_negative", "share_word"), ANY),
    **dict.fromkeys(("history_words", "history_nan", "history_names", "history_far", "history_number"), ANY),
    **dict.fromkeys(("text", "chatty", "closes", "orphan", "unshown"), ANY),
    **dict.fromkeys(("late_nan", "late_raises", "late_killed"), ("complete",)),
}


class Odd(RuntimeError):
    """An error that says of itself what no error can be."""

    def __init__(self, status: str) -> None:
        super().__init__("all is well")
        self.status = status


class Unspeakable(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("\ud800")


class Base(BaseException):
    """What no handler of exceptions hears."""


class Stranger(GaussianNB):
    """Naive Bayes, and `kind` says what is wrong with it."""

    def __init__(self, kind: str = "none") -> None:
        super().__init__()
        self.kind = kind

    def fit(self, X: Any, y: Any, monitor: Any = None) -> Self:
        """Learn, then do what is wrong."""
        super().fit(X, y)
        wrong = {
            "more": lambda: setattr(self, "classes_", np.arange(15)),
            "words": lambda: setattr(self, "classes_", np.array([f"\ud800{c}" for c in self.classes_], dtype=object)),
            "ragged": lambda: setattr(self, "classes_", [[0], [1, 2]]),
            "reversed": lambda: setattr(self, "classes_", self.classes_[::-1].copy()),
            "no_classes": lambda: delattr(self, "classes_"),
            "surrogate": lambda: _throw(ValueError("no file \udcff")),
            "escape": lambda: _throw(ValueError("\x1b]0;a title\x07 but\r\n\u2028a bell")),
            "endless": lambda: _throw(ValueError("word " * 2_000_000)),
            "unspeakable": lambda: _throw(Unspeakable()),
            "recursion": lambda: self.fit(X, y),
            "claims_complete": lambda: _throw(Odd("complete")),
            "claims_prepared": lambda: _throw(Odd("prepared")),
            "unsaved": lambda: setattr(self, "tool_", lambda x: x),
            "odd_score": lambda: monitor("x", "y") if monitor else _throw(ValueError("no monitor")),
            "far_step": lambda: monitor(10**30, 0.5) if monitor else _throw(ValueError("no monitor")),
            "exits": lambda: sys.exit("as if all were done"),
            "gone": lambda: os._exit(0),
            "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
            "interrupts": lambda: _throw(KeyboardInterrupt()),
            "unhearable": lambda: _throw(Base("nobody hears")),
            "share_zero": lambda: setattr(self, "schedule_share_", 0.0),
            "share_nan": lambda: setattr(self, "schedule_share_", float("nan")),
            "share_negative": lambda: setattr(self, "schedule_share_", -1),
            "share_word": lambda: setattr(self, "schedule_share_", "all"),
            "history_words": lambda: setattr(self, "history_", {"step": ["a"], "loss": ["\ud800"]}),
            "history_nan": lambda: setattr(self, "history_", {"step": [float("nan")], "loss": [float("inf")]}),
            "history_names": lambda: setattr(self, "history_", {"loss $%{}\n..": [1.0], "x" * 999: [2.0], "..": [0.1]}),
            "history_far": lambda: setattr(self, "history_", {"step": [1e30], "loss": [1e308]}),
            "history_number": lambda: setattr(self, "history_", 7),
            "chatty": lambda: print("\ud800 word " * 100_000),
            "closes": lambda: os.closerange(0, 64),
            "orphan": lambda: setattr(self, "pid_", subprocess.Popen(["sleep", "30"]).pid),
        }
        wrong.get(self.kind, lambda: None)()
        return self

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        if self.kind == "unshown":
            raise ValueError("\ud800")
        return str(super().__repr__(N_CHAR_MAX))

    def __getstate__(self) -> dict[str, Any]:
        if self.kind == "unpicklable":
            raise RuntimeError("stays at home")
        return dict(super().__getstate__())

    def predict_proba(self, X: Any) -> Any:
        """Predict, in a way that is wrong."""
        if self.kind in ("reversed", "more", "words", "ragged", "no_classes"):
            found = self._as_it_was(X)
        else:
            found = super().predict_proba(X)
        wrong = {
            "reversed": lambda: found[:, ::-1],
            "more": lambda: np.full((len(X), 15), 1 / 15),
            "columns": lambda: found[:, :9],
            "rows": lambda: found[1:],
            "flat": lambda: found[:, 0],
            "negative": lambda: np.log(found + 0.01),
            "zeros": lambda: np.zeros_like(found),
            "nan": lambda: np.nan * found,
            "text": lambda: found.astype(str),
            "nothing": lambda: None,
        }
        if len(X) == TEST_ROWS:
            wrong |= {
                "late_nan": lambda: np.nan * found,
                "late_raises": lambda: _throw(ValueError("\ud800")),
                "late_killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
            }
        return wrong.get(self.kind, lambda: found)()

    def _as_it_was(self, X: Any) -> Any:
        known, self.classes_ = getattr(self, "classes_", None), np.arange(len(self.theta_))
        try:
            return super().predict_proba(X)
        finally:
            self.classes_ = known


def _throw(error: BaseException) -> None:
    raise error
