"""How long somebody waits: seconds from the call to the first line on the terminal, and to the first complete trial.

Each repetition starts the same command in an empty folder, as on a terminal, and ends it after its first score. Nothing
else should run on the machine. The first repetition finds files that the system has not read yet; the page gives all.
"""

import argparse
import contextlib
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from fmnist_bench._utils.environment import cores, machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.storage.trial import RECORD, read_record

POLL = 0.02  # seconds between two looks for a record
LONGEST = 120.0  # seconds until it is given up


def measure(arguments: Sequence[str]) -> tuple[float, float]:
    """Start the command in an empty folder; give the seconds to its first line and to its first complete trial."""
    terminal, end = pty.openpty()
    with tempfile.TemporaryDirectory(prefix="first_score-", ignore_cleanup_errors=True) as folder:
        started, line = time.perf_counter(), 0.0
        command = [sys.executable, "-m", "fmnist_bench", *arguments]
        process = subprocess.Popen(command, cwd=folder, stdin=end, stdout=end, stderr=end, start_new_session=True)
        os.close(end)
        try:
            while not _has_score(Path(folder)):
                if select.select([terminal], [], [], POLL)[0]:
                    with contextlib.suppress(OSError):  # where the command has ended
                        os.read(terminal, 2**16)
                    line = line or time.perf_counter() - started
                if process.poll() is not None or time.perf_counter() - started > LONGEST:
                    raise SystemExit(f"{' '.join(arguments)}: no complete trial; exit status {process.poll()}")
            return line, time.perf_counter() - started
        finally:
            _end(process, terminal)


def _has_score(folder: Path) -> bool:
    """Whether a trial is complete, that of a training, not of a preparation such as a GAN's."""
    records = (read_record(path.parent) for path in folder.glob(f"mlruns/runs/*/trials/*/*/{RECORD}"))
    return any(record is not None and record.is_complete for record in records)


def _end(process: subprocess.Popen[bytes], terminal: int) -> None:
    """Kill the run with its workers and their server."""
    if process.poll() is None:
        run = psutil.Process(process.pid)
        for member in (run, *run.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()
    os.close(terminal)


def report(found: Sequence[tuple[float, float]], command: str) -> list[str]:
    """Lines of the page."""
    rows = zip(("first line on the terminal", "first complete trial"), zip(*found, strict=True), strict=True)
    return [
        "# How long until the first score",
        "",
        f"Seconds from the call of `{command}` in an empty folder: median (lowest to highest), n = {len(found)}.",
        "",
        "| Until | Seconds |",
        "| --- | ---: |",
        *(f"| {what} | {statistics.median(t):.2f} ({min(t):.2f} to {max(t):.2f}) |" for what, t in rows),
        "",
        f"`python benchmarks/first_score/first_score.py --repeat {len(found)}`, {cores()} cores",
        "",
        *(f"- {key}: {value}" for key, value in machine().items()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    parser.add_argument("--markdown", default=Path(__file__).with_suffix(".md"), type=Path)
    options = parser.parse_args()
    arguments, found = ["run", "all", "--budget", "2m"], list[tuple[float, float]]()
    for _ in range(options.repeat):
        found.append(measure(arguments))
        print("first line {:.2f} s, first complete trial {:.2f} s".format(*found[-1]), flush=True)
    lines = report(found, f"python -m fmnist_bench {' '.join(arguments)}")
    write_text(options.markdown, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
