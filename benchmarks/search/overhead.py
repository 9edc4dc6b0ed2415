"""What the engine costs: a trial that does nothing, cores side by side, and where the time of whole runs went.

    python benchmarks/search/overhead.py --mlruns mlruns

Runs of `all` that lie in --mlruns are counted as well: overrun, and the share of the cores' time spent in `fit`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench import run_benchmark
from fmnist_bench._utils.environment import allowed_cores, cores, machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.files import find_files
from fmnist_bench.config.loader import load_space
from fmnist_bench.data.dataset import load_dataset, make_split
from fmnist_bench.progress.displays import Progress
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.storage.trial import Trial

NOTHING = """
[model]
use = "sklearn.naive_bayes.GaussianNB"
var_smoothing = { low = 1e-9, high = 1.0, log = true }
"""
NETWORK = """
[model]
use = "fmnist_bench.models.CNNClassifier"
n_convs = 1
filters = 1
n_dense = 0
head = "max"
flip_average = false
epochs = 1
learning_rate = { low = 0.01, high = 0.1 }
"""
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = {trials}\nstudies = ["{space}"]\n'
FAMILIES = ("cnn", "xgboost", "hist_gradient_boosting", "random_forest", "mlp", "hog_svm")


class Clocked(Progress):
    """Takes the time at which every trial begins and ends."""

    def __init__(self) -> None:
        self.started: list[float] = []
        self.ended: list[float] = []

    def trial_started(self, study: str, number: int) -> None:
        """Take the time."""
        self.started.append(time.perf_counter())

    def trial_ended(self, *args: object) -> None:
        """Take the time."""
        self.ended.append(time.perf_counter())


def cost_of_trials(space: str, text: str, trials: int) -> tuple[float, float, float]:
    """Median seconds from one end to the next, less fit and predict: all trials, the first fifty, the last fifty."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for path, content in {
            f"studies/{space}.toml": text,
            "b.toml": BENCHMARK.format(trials=trials, space=space),
        }.items():
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).write_text(content)
        clocked = Clocked()
        outcome = run_benchmark("b.toml", workers=1, progress=clocked)
        records = [json.loads(p.read_text()) for p in outcome.folder.glob("trials/*/*/trial.json")]
        os.chdir(before)
    work = {r["number"]: r["result"]["fit_seconds"] + r["result"]["predict_seconds"] for r in records}
    costs = [
        b - a - work.get(i + 1, 0.0) for i, (a, b) in enumerate(zip(clocked.ended, clocked.ended[1:], strict=False))
    ]
    return statistics.median(costs), statistics.median(costs[:50]), statistics.median(costs[-50:])


def small_trials(trials: int, networks: int) -> Iterator[str]:
    """What a trial costs beside its own work."""
    yield from (
        "",
        "## A trial that does next to nothing",
        "",
        "Seconds from the end of one trial to the end of the next, less `fit` and `predict`: asking, starting the",
        "worker, loading rows, saving, logging, telling. One worker; median of all trials, of the first and of the",
        "last fifty.",
        "",
        "| Trial | Trials | Seconds a trial | First fifty | Last fifty |",
        "| --- | ---: | ---: | ---: | ---: |",
    )
    for name, space, text, count in (
        # The network first: the server that forks the workers imports Keras once, when it starts, or never.
        ("a Keras network with one filter", "network", NETWORK, networks),
        ("naive Bayes", "nothing", NOTHING, trials),
    ):
        middle, first, last = cost_of_trials(space, text, count)
        yield f"| {name} | {count} | {middle:.3f} | {first:.3f} | {last:.3f} |"


def side_by_side(rows: int) -> Iterator[str]:
    """Seconds of one fit with all cores, and of as many fits at once as there are cores with one core each."""
    n = cores()
    yield from (
        "",
        "## Cores: one fit with all of them, or fits side by side with one each",
        "",
        f"Seconds of a fit of {rows:,} rows with {n} cores, seconds of {n} fits at once with one core each, and how",
        "many times more rows a second go through side by side. This is why `--workers auto` is one a core.",
        "",
        "| Family | One fit, s | Side by side, s | Gain |",
        "| --- | ---: | ---: | ---: |",
    )
    for family in FAMILIES:
        alone = _fits(family, [allowed_cores()], rows)
        at_once = _fits(family, [[core] for core in allowed_cores()], rows)
        yield f"| {family} | {alone:.1f} | {at_once:.1f} | {n * alone / at_once:.2f} |"


def _fits(family: str, places: list[list[int]], rows: int) -> float:
    """Longest of the fits that run at once, after each process has warmed up."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--fit", family, "--rows", str(rows), "--gate", folder, "--cpus"]
        processes = [
            subprocess.Popen([*command, ",".join(map(str, cpus))], stdout=subprocess.PIPE, text=True) for cpus in places
        ]
        while len(list(Path(folder).iterdir())) < len(places):
            time.sleep(0.1)
        Path(folder, "go").touch()
        return max(float(process.communicate()[0].split()[-1]) for process in processes)


def fit_once(family: str, rows: int, cpus: list[int], gate: Path) -> None:
    """Warm up, wait for the others, fit; print the seconds."""
    from joblib import parallel_config

    from fmnist_bench.config.study import Study
    from fmnist_bench.trials.job import take_cores

    take_cores(tuple(cpus))
    data = load_dataset("fashion-mnist", "train")
    study = Study(load_space(family))
    parameters = {"model__epochs": 1} if family == "cnn" else {}
    split = make_split(data.y, 1000, 0, rows=rows + 1000)
    with parallel_config(backend="threading", n_jobs=len(cpus)):
        for part in (split.train[:1000], split.train):
            own = {**study.space.defaults[0].parameters, **parameters}
            pipeline = study.pipeline(own, facts={"random_state": 0})
            if part is split.train:
                (gate / f"{os.getpid()}").touch()
                while not (gate / "go").exists():
                    time.sleep(0.01)
            started = time.perf_counter()
            pipeline.fit(data.X[part], data.y[part])
    print(time.perf_counter() - started)


def whole_runs(mlruns: Sequence[Path]) -> Iterator[str]:
    """Overrun and use of the cores of every run of `all`."""
    yield from (
        "",
        "## Whole runs of `all`",
        "",
        "Budget and seconds used, from the first import to the finished report; the part of the cores' time that was",
        "spent inside `fit` (one core a trial), and the part in which the processor worked there, of the whole run.",
        "",
        "| Budget, min | Seed | Used, s | Overrun, % | Trials | In `fit`, % | At work there, % | Revision |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    )
    for path in sorted(path for folder in mlruns for path in folder.glob("runs/all-*/run.json")):
        state = json.loads(path.read_text())
        if not state.get("budget") or "environment" not in state:
            continue
        run = Run(Store(path.parent.parent.parent), path.parent, "all")
        records: list[Trial] = [r for study in state["studies"] for r in run.records(study)]
        budget, used = state["budget"], state["seconds"]
        inside = sum(r.result.fit_seconds for r in records)
        busy = sum(r.result.fit_cpu_seconds for r in records)
        yield (
            f"| {budget / 60:.0f} | {state['seed']} | {used:.1f} | {100 * (used / budget - 1):+.1f} | {len(records)} | "
            f"{100 * inside / cores() / used:.0f} | {100 * busy / cores() / used:.0f} | "
            f"{state['environment'].get('revision', '')} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlruns", default=[Path("mlruns")], type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--trials", type=int, default=1000, help="trials that do nothing")
    parser.add_argument("--networks", type=int, default=60, help="trials of a tiny network")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the fits side by side")
    parser.add_argument("--markdown", default=Path(__file__).with_suffix(".md"), type=Path)
    parser.add_argument("--fit", choices=list(find_files("studies")), help=argparse.SUPPRESS)
    parser.add_argument("--cpus", help=argparse.SUPPRESS)
    parser.add_argument("--gate", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit_once(options.fit, options.rows, [int(cpu) for cpu in options.cpus.split(",")], options.gate)
        return
    lines = ["# What the engine costs"]
    for section in (
        small_trials(options.trials, options.networks),
        side_by_side(options.rows),
        whole_runs(options.mlruns),
    ):
        for line in section:
            lines.append(line)
            print(line, flush=True)
    lines += [
        "",
        f"`python benchmarks/search/overhead.py --mlruns {' '.join(folder.name for folder in options.mlruns)}`",
        "",
    ]
    lines += [f"- {key}: {value}" for key, value in machine().items()]
    write_text(options.markdown, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
