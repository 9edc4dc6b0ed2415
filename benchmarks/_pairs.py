"""Runs of a benchmark script side by side, each with one core of its own: twice as many in the same time."""

import queue
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fmnist_bench._utils.environment import allowed_cores


def run_each(script: str, arguments: Sequence[Sequence[object]]) -> None:
    """Call `script` with each of the `arguments`, in their order, one a core at a time.

    Neighbours in the list run at the same moment and are disturbed by the machine alike, so put next to each other
    what is to be compared. Stops at the first that fails.
    """
    free: queue.Queue[int] = queue.Queue()
    for core in allowed_cores():
        free.put(core)

    def run(words: Sequence[object]) -> None:
        core = free.get()
        command = ["taskset", "-c", str(core), sys.executable, script, *map(str, words)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        finally:
            free.put(core)
        print(" ".join(map(str, words)), *done.stdout.splitlines()[-1:], sep="\n  ", flush=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")

    with ThreadPoolExecutor(len(allowed_cores())) as threads:
        list(threads.map(run, arguments))
