"""One measurement of a peer: it learns in a process that is watched, limited and perhaps killed; then it predicts."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

HERE = Path(__file__).resolve().parent
HARD_STOP = 1.5  # times its minutes, after which a peer is ended
FIRST_POLL, POLL = 0.02, 0.5  # seconds between two looks at the memory: soon at first, since a call may be short


@dataclass(frozen=True)
class Peer:
    """Who is measured: the module that calls it, its environment, and what it learns from (``X`` or ``hog``)."""

    name: str
    module: str
    features: str = "X"


@dataclass(frozen=True)
class Call:
    """What all calls of a measurement share."""

    peer: Peer
    python: Path
    data: Path
    folder: Path
    seconds: float
    seed: int
    cores: int
    rows: int | None

    def command(self, what: str, **more: Any) -> list[str]:
        about = {"features": self.peer.features, "data": self.data, "model": self.folder / "model", **more}
        about |= {"seconds": self.seconds, "seed": self.seed, "cores": self.cores}
        about |= {} if self.rows is None else {"rows": self.rows}
        arguments = [str(part) for name, value in about.items() for part in (f"--{name}", value)]
        return [str(self.python), str(HERE / "_child.py"), what, self.peer.module, *arguments]


def measure(call: Call, y_test: Any, kill: bool) -> dict[str, Any]:
    """Let a peer learn and predict; with `kill` it is killed at half of its time and called again.

    Returns
    -------
    dict
        Seconds, peak memory in bytes, size on disk in bytes, right rows as a word of 0 and 1; or a reason.
    """
    shutil.rmtree(call.folder, ignore_errors=True)
    call.folder.mkdir(parents=True)
    if kill:
        watch(call, "fit", call.seconds / 2, answer=call.folder / "killed.json")
    began = {"files_of_the_killed": _files(call.folder / "model")} if kill else {}
    found = watch(call, "fit", HARD_STOP * call.seconds, answer=call.folder / "fit.json")
    if found["status"] != "ended":
        return {**began, **found}
    out = call.folder / "predicted.npy"
    predicted = watch(call, "predict", HARD_STOP * call.seconds, answer=call.folder / "predict.json", out=out)
    if predicted["status"] != "ended":
        return {**began, **found, "status": "cannot predict", "reason": predicted["reason"]}
    right = (np.load(out) == y_test).astype(int)
    words = {"right": "".join(map(str, right)), "predict_seconds": predicted["answer"]["seconds"]}
    return {**began, **found, "status": "complete", **words, "size": predicted["answer"]["size"]}


def watch(call: Call, what: str, limit: float, answer: Path, **more: Any) -> dict[str, Any]:
    """Run one call in a process group of its own; end all of it after `limit` seconds with SIGKILL."""
    began, peak, status, pause = time.monotonic(), 0, "ended", FIRST_POLL
    seen: set[psutil.Process] = set()
    environment = {**os.environ, "PYTHONNOUSERSITE": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "DO_NOT_TRACK": "1"}
    with (call.folder / f"{answer.stem}.txt").open("w") as log:
        process = subprocess.Popen(
            call.command(what, answer=answer, **more),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
        try:
            while process.poll() is None:
                seen.update(tree := _tree(process.pid))
                peak = max(peak, _memory(tree))
                if time.monotonic() - began > limit:
                    status = "stopped"
                    break
                time.sleep(pause)
                pause = min(2 * pause, POLL)
            seconds = time.monotonic() - began
        finally:
            end_group(process, seen)
    found = {"seconds": seconds, "peak_memory": peak, "status": status}
    if status == "ended" and process.returncode == 0 and answer.exists():
        return {**found, "answer": json.loads(answer.read_text())}
    reason = f"was not done after {limit:.0f} s" if status == "stopped" else _last_words(call.folder / log.name)
    return {**found, "status": "stopped" if status == "stopped" else "failed", "reason": reason}


def end_group(process: "subprocess.Popen[Any]", seen: set[psutil.Process]) -> None:
    """Kill what is left of a call's processes, also those of another group and those that outlived their parent."""
    for each in {*seen, *_tree(process.pid)}:
        with contextlib.suppress(psutil.Error):
            if each.pid != process.pid or process.poll() is None:
                each.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(processes: list[psutil.Process]) -> int:
    """Proportional set size of processes: what they share counts once."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "ended without a word"
