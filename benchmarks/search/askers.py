"""Who asks best: Optuna's TPE and random search, KerasTuner's Hyperband and Bayesian optimisation.

    python benchmarks/search/askers.py --mlruns mlruns-askers

Each searches the study of CNNs as it is shipped, ladder included, on 10,000 rows of Fashion-MNIST, 8 minutes for each
of three seeds, each with one core: 48 minutes with two. The default configurations are left out: they would hide who
asks. Everything runs through `run_benchmark`, loading of the data and the report at the end included in the time.
Called again it goes on where it was stopped; what has ended stays under --mlruns.

Writes askers.md and askers.svg beside itself.
"""

import argparse
import json
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _pairs import run_each

from fmnist_bench import run_benchmark
from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.progress.displays import PlainLines
from fmnist_bench.storage.run_folder import Run, Store

HERE = Path(__file__).resolve().parent
ASKERS = {
    "Optuna TPE": ("optuna", "tpe"),
    "Optuna random": ("optuna", "random"),
    "KerasTuner Hyperband": ("keras-tuner", "hyperband"),
    "KerasTuner Bayesian": ("keras-tuner", "bayesian"),
}
SEED_STEP = 1000  # between two repetitions: near seeds draw overlapping sequences
SHARES = (0.25, 0.5, 1.0)  # of the time, at which the table compares

Points = list[tuple[float, float]]  # seconds since the start and validation accuracy of each complete trial


class Lines(PlainLines):
    """Prints a line for each trial, and notices when the user stops the search."""

    stopped = False

    def message(self, text: str) -> None:
        """Say it."""
        self.stopped |= text.startswith("Stopping")
        super().message(text)


def main() -> None:
    options = _options()
    if options.asker:
        measure(options.asker, options.seed, options)
        return
    pairs = [(name, repetition * SEED_STEP) for repetition in range(options.seeds) for name in ASKERS]
    run_each(
        __file__,
        [
            (*sys.argv[1:], "--asker", name, "--seed", seed)
            for name, seed in pairs
            if not _place(name, seed, options).exists()
        ],
    )
    results: dict[str, list[Points]] = {}
    for name, seed in pairs:
        points = json.loads(_place(name, seed, options).read_text())
        results.setdefault(name, []).append([tuple(point) for point in points])
    write_text(options.output / "askers.md", report(results, options))
    figure(results, options.seconds, options.output / "askers.svg")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=480, metavar="S", help="for each run (default 480)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument(
        "--rows", type=int, default=10_000, metavar="N", help="train and validation rows (default 10000)"
    )
    parser.add_argument("--data", default=None, help="folder of Fashion-MNIST, or digits for a try")
    parser.add_argument("--mlruns", type=Path, default=Path("mlruns-askers"), metavar="DIR", help="of everything")
    parser.add_argument("--output", type=Path, default=HERE, metavar="DIR", help="for askers.md and askers.svg")
    parser.add_argument("--asker", choices=list(ASKERS), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _place(name: str, seed: int, options: argparse.Namespace) -> Path:
    stem = "-".join(ASKERS[name])
    return Path(options.mlruns, f"{options.rows}-{options.seconds:g}-{stem}-{seed}.json")


def measure(name: str, seed: int, options: argparse.Namespace) -> None:
    """Run one search and keep what it found."""
    engine, oracle = ASKERS[name]
    stem, place = f"{engine}-{oracle}", _place(name, seed, options)
    mlruns, progress = place.with_suffix(""), Lines(sys.stdout)
    with tempfile.TemporaryDirectory() as folder:
        path = write_files(Path(folder), stem, engine, oracle, options)
        outcome = run_benchmark(path, seed=seed, data=options.data, mlruns=mlruns, progress=progress)
    if progress.stopped:
        raise SystemExit("Stopped; the same command goes on with it")
    records = Run(Store(mlruns), outcome.folder, stem).records(stem)
    points = [(record.ended, record.result.accuracy) for record in records if record.status == "complete"]
    write_text(place, json.dumps(sorted(points)) + "\n")


def write_files(folder: Path, stem: str, engine: str, oracle: str, options: argparse.Namespace) -> Path:
    """Write the shipped study with another asker and without default configurations, and a benchmark of it alone."""
    space = tomllib.loads((HERE.parents[1] / "studies" / "cnn.toml").read_text(encoding="utf-8"))
    tables = {"model": space["model"], "fidelity": space["fidelity"], "search": {"engine": engine, "oracle": oracle}}
    write_text(folder / f"{stem}.toml", "\n".join(f"[{name}]\n{_lines(table)}" for name, table in tables.items()))
    names = {"rows": options.rows, "budget": f"{options.seconds:g}s", "studies": [str(folder / f"{stem}.toml")]}
    write_text(folder / f"askers-{stem}.toml", _lines(names))
    return folder / f"askers-{stem}.toml"


def _lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)  # of scalars and lists TOML says the same


def best_at(points: Points, seconds: float) -> float:
    """Best validation accuracy of the trials that had ended by then, not a number where none had."""
    return max((accuracy for ended, accuracy in points if ended <= seconds), default=float("nan"))


def report(results: Mapping[str, Sequence[Points]], options: argparse.Namespace) -> str:
    """Write the page."""
    times = [share * options.seconds for share in SHARES]
    head = " | ".join(["asker", *(f"best after {_time(seconds)}" for seconds in times), "complete trials"])
    rows = [
        " | ".join([name, *(_spread([best_at(p, t) for p in runs]) for t in times), _counts(runs)])
        for name, runs in results.items()
    ]
    return "\n".join(
        [
            "# Four ways to ask",
            "",
            f"Generated by `python benchmarks/{' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}`.",
            "",
            *(f"- {key}: {value}" for key, value in machine().items()),
            "",
            f"The study `cnn` with its ladder and without its default configurations, {options.rows} rows of "
            f"{options.data if options.data == 'digits' else 'Fashion-MNIST'}, {_time(options.seconds)} a run "
            f"with one core, seeds: {options.seeds}. Hyperband chooses the rungs itself; of what the other three ask "
            "for the better part climbs by the package's own rule. Accuracies are in per cent of the valid "
            "rows, of the best trial so far: median (lowest to highest) over the seeds. Being the best of many they "
            "are higher than a test would find, for all four alike.",
            "",
            f"| {head} |",
            "|" + "---|" * (len(times) + 2),
            *(f"| {row} |" for row in rows),
            "",
            "![Best validation accuracy by time](askers.svg)",
            "",
        ]
    )


def _time(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _spread(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return "none yet"
    return f"{100 * statistics.median(values):.2f} ({100 * min(values):.2f} to {100 * max(values):.2f})"


def _counts(runs: Sequence[Points]) -> str:
    counts = [len(points) for points in runs]
    return f"{statistics.median(counts):g} ({min(counts)} to {max(counts)})"


def figure(results: Mapping[str, Sequence[Points]], seconds: float, path: Path) -> None:
    """Draw median and range of the best validation accuracy so far, from when every seed has one."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from fmnist_bench.report.canvas import GREY, GRID, PALETTE

    fig = Figure(figsize=(7.2, 4), layout="constrained")
    axes = fig.add_subplot(xlabel="minutes", ylabel="best validation accuracy, %")
    low, high = 100.0, 0.0
    for (name, runs), colour in zip(results.items(), PALETTE, strict=False):
        times = np.array(sorted({ended for points in runs for ended, _ in points} | {seconds}))
        curves = 100 * np.array([[best_at(points, time) for time in times] for points in runs])
        whole = ~np.isnan(curves).any(axis=0)
        if not whole.any():
            continue
        times, curves = times[whole] / 60, curves[:, whole]
        axes.step(times, np.median(curves, axis=0), where="post", color=colour, label=name, lw=1.8)
        axes.fill_between(times, curves.min(axis=0), curves.max(axis=0), step="post", color=colour, alpha=0.15, lw=0)
        low, high = min(low, curves[:, -1].min()), max(high, curves.max())
    if high:  # curves may enter from below: the first trials must not flatten the range that matters
        axes.set_ylim(low - 1.5 * max(high - low, 1.0), high + 0.3 * max(high - low, 1.0))
        axes.legend(frameon=False, loc="lower right")
    axes.set_xlim(0, seconds / 60)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "askers"}):
        fig.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
