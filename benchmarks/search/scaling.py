"""How well trials keep the workers of a Dask cluster busy: trials that only sleep, on 1 to 64 workers.

    pip install "fmnist-bench[cluster]" && python benchmarks/search/scaling.py

A worker here is a thread of a Dask worker, with one trial at a time. Scheduler and Dask workers are processes on this
machine: up to 16 with a thread each, and 64 workers are 16 with four, since each takes 400 MB before its first trial.
All share the cores which on a real cluster they would have for themselves. What Dask does there without being asked
(event loop ticks, monitors, profiles) is therefore slowed down by `SETTINGS`; with its defaults idle workers keep more
than one core busy. Everything else is as in a run: a real job, a process a trial, rows that travel, files that come
back.

Ideal is the number of trials of one worker times the seconds of a trial; efficiency is ideal by measured, from the
first submission to the last result. Left out is the start of the workers alone: each has had one trial before, with
which it got its rows and imported what trials need.

Writes scaling.md and scaling.svg beside itself.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
SETTINGS = {
    "DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
    "DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "10s",
    "DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
MOST_PROCESSES = 16
AT_ONCE = 8  # of them that start side by side
WAIT = 300.0  # seconds for them to start


class Sleeper(ClassifierMixin, BaseEstimator):
    """A classifier that learns the frequencies of the classes in its sleep."""

    def __init__(self, seconds=10.0):
        self.seconds = seconds

    def fit(self, X, y):
        """Sleep and count."""
        time.sleep(self.seconds)
        self.classes_, counts = np.unique(y, return_counts=True)
        self.frequencies_ = counts / counts.sum()
        return self

    def predict_proba(self, X):
        """Give every row the frequencies."""
        return np.tile(self.frequencies_, (len(X), 1))


def main():
    options = _options()
    rows = []
    print("| workers | trials | ideal s | s | efficiency % |\n|---|---|---|---|---|", flush=True)
    for n in options.workers:
        seconds = measure(n, options.seconds, options.trials_per_worker)
        rows.append((n, n * options.trials_per_worker, options.seconds * options.trials_per_worker, seconds))
        print(line(*rows[-1]), flush=True)
    write(rows, options.output)


def _options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 64], metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a trial sleeps (default: 10)")
    parser.add_argument("--trials-per-worker", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument("--output", type=Path, default=HERE, metavar="DIR", help="for scaling.md and scaling.svg")
    return parser.parse_args()


def measure(n, seconds, trials_per_worker):
    """Seconds that `n` workers take for `trials_per_worker` trials each."""
    from fmnist_bench.trials.dask_cluster import Cluster

    with tempfile.TemporaryDirectory() as name, dask(Path(name), n) as address:
        cluster, make = Cluster(address), jobs(Path(name))
        with contextlib.closing(cluster), ThreadPoolExecutor(n) as threads:
            run_all(threads, cluster, [make(f"warm-{i}", 3.0) for i in range(n)])
            warm = cluster.client.run(has_rows)
            assert all(warm.values()), "a worker has had no trial yet"
            trials = [make(f"trial-{i}", seconds) for i in range(n * trials_per_worker)]
            started = time.perf_counter()
            run_all(threads, cluster, trials)
            return time.perf_counter() - started


def run_all(threads, cluster, trials):
    stop = threading.Event()
    for result in threads.map(lambda job: cluster.run(job, lambda step, score: False, stop), trials):
        assert result.status == "complete", result.reason


def has_rows(dask_worker):
    return any(Path(dask_worker.local_directory).glob("rows-*"))


def jobs(folder):
    """Return a function that makes trials of the digits."""
    from fmnist_bench.config.space import Spec
    from fmnist_bench.config.study import SearchSpace, Study
    from fmnist_bench.data.dataset import load_dataset, make_split
    from fmnist_bench.storage.run_folder import Store
    from fmnist_bench.storage.trial import Trial
    from fmnist_bench.trials.job import Job

    digits, store = load_dataset("digits"), Store(folder / "mlruns")
    shared = {"rows": store.rows(digits), "split": make_split(digits.y, 0.2, 0), "seed": 0, "cache_dir": store.cache}

    def make(name, seconds):
        study = Study(SearchSpace("sleep", Spec("scaling.Sleeper", {"seconds": seconds})))
        return Job(study, Trial("sleep", 0), folder=folder / "trials" / name, allow_import=("scaling",), **shared)

    return make


@contextlib.contextmanager
def dask(folder, n):
    """Start a scheduler and `n` workers; give its address."""
    from distributed import Client

    processes, n_dask = [], min(n, MOST_PROCESSES)
    options = (
        "--nthreads",
        str(n // n_dask),
        "--no-nanny",
        "--memory-limit",
        "0",
        "--preload",
        "fmnist_bench.trials._dask_supervisor",
    )

    def start(verb, *options):
        environment = {**os.environ, **{f"DASK_{name}": value for name, value in SETTINGS.items()}}
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "dask", verb, "--host", "127.0.0.1", "--no-dashboard", *options]
        with (folder / f"{verb}.log").open("a") as log:
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    file = folder / "scheduler.json"
    try:
        start("scheduler", "--port", "0", "--scheduler-file", str(file))
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            for first in range(0, n_dask, AT_ONCE):
                for number in range(first, min(first + AT_ONCE, n_dask)):
                    start("worker", address, *options, "--local-directory", str(folder / f"worker-{number}"))
                client.wait_for_workers(len(processes) - 1, timeout=WAIT)
        yield address
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def line(n, trials, ideal, seconds):
    return f"| {n} | {trials} | {ideal:.0f} | {seconds:.1f} | {100 * ideal / seconds:.1f} |"


def write(rows, folder):
    """Write the page and its figure."""
    from importlib.metadata import version

    from fmnist_bench._utils.environment import machine

    text = __doc__.split("\n\n")
    facts = {
        **machine(),
        "Dask": version("distributed"),
        "settings": ", ".join(f"{k}={v}" for k, v in SETTINGS.items()),
    }
    page = [
        "# Dask workers kept busy",
        f"Generated by `python benchmarks/search/scaling.py {' '.join(sys.argv[1:])}`".rstrip(" `") + "`.",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        *text[2:4],
        "| workers | trials | ideal s | s | efficiency % |\n|---|---|---|---|---|\n"
        + "\n".join(line(*row) for row in rows),
        "![Efficiency by number of workers](scaling.svg)",
    ]
    (folder / "scaling.md").write_text("\n\n".join(page) + "\n")
    figure([row[0] for row in rows], [100 * ideal / seconds for _, _, ideal, seconds in rows], folder / "scaling.svg")


def figure(workers, efficiency, path):
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from fmnist_bench.report.canvas import GREY, GRID, PALETTE

    fig = Figure(figsize=(5.5, 3.2), layout="constrained")
    axes = fig.add_subplot(xlabel="workers", ylabel="efficiency in %", xscale="log", ylim=(0, 105))
    axes.axhline(95, color=GREY, linewidth=1, linestyle="--")
    axes.plot(workers, efficiency, color=PALETTE[0], marker="o")
    axes.set_xticks(workers, [str(n) for n in workers])
    axes.minorticks_off()
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scaling"}):
        fig.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
