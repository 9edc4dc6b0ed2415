"""The rule that shares the time between the studies against equal shares, in whole runs.

    python benchmarks/search/sharing.py --minutes 10 --seeds 3 --mlruns mlruns-sharing
    python benchmarks/search/sharing.py --minutes 30 --seeds 1 --mlruns mlruns-sharing

Runs `all` with both rules at the same time, each with one core: what disturbs the machine disturbs both alike.
Called again it goes on where it was stopped, from what lies under --mlruns. Writes sharing-10m.md, or whatever the
minutes are, beside itself.
"""

import argparse
import functools
import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _pairs import run_each

from fmnist_bench import run_benchmark
from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.progress.displays import PlainLines
from fmnist_bench.search import loop
from fmnist_bench.search.allocation import RATIO, next_study
from fmnist_bench.storage.find_runs import newest_run, open_folder

RULES = {"shipped": RATIO, "equal": 1.0}
SEED_STEP = 1000  # between two repetitions: near seeds draw overlapping sequences


def main() -> None:
    options = _options()
    if options.rule:
        measure(options.rule, options.seed, options)
        return
    missing = [
        (rule, seed)
        for seed in range(0, options.seeds * SEED_STEP, SEED_STEP)
        for rule in RULES
        if not _place(options.mlruns, options.minutes, rule, seed).exists()
    ]
    shared = ("--minutes", options.minutes, "--mlruns", options.mlruns)
    run_each(__file__, [("--rule", rule, "--seed", seed, *shared) for rule, seed in missing])
    page = Path(__file__).with_name(f"sharing-{options.minutes:g}m.md")
    write_text(page, "\n".join(report(options)) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="budget of each run (default 10)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--mlruns", type=Path, default=Path("mlruns-sharing"), metavar="DIR", help="of everything")
    parser.add_argument("--rule", choices=list(RULES), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _place(mlruns: Path, minutes: float, rule: str, seed: int) -> Path:
    return mlruns / f"{minutes:g}-{seed}-{rule}.json"


def measure(rule: str, seed: int, options: argparse.Namespace) -> None:
    """Run the benchmark with one rule and keep what came out."""
    loop.next_study = functools.partial(next_study, ratio=RULES[rule])
    place = _place(options.mlruns, options.minutes, rule, seed)
    folder = place.with_suffix("")
    outcome = run_benchmark(
        "all", budget=60 * options.minutes, seed=seed, fresh=True, mlruns=folder, progress=PlainLines(sys.stdout)
    )
    with open_folder(newest_run("all", folder)) as run:
        records = [record for study in run.state["studies"] for record in run.records(study)]
        seconds = run.state["seconds"]
    who = outcome.findings.ensemble
    assert who is not None, "no trial was complete"
    row = {
        "minutes": options.minutes,
        "seed": seed,
        "rule": rule,
        "accuracy": float(np.mean(who.test_probabilities.argmax(axis=1) == outcome.findings.y_test)),
        "trials": len(records),
        "seconds": seconds,
        "fit": sum(record.result.fit_cpu_seconds for record in records),
        "searched": max(record.ended for record in records),
    }
    write_text(place, json.dumps(row) + "\n")


def report(options: argparse.Namespace) -> Iterator[str]:
    """Write the page, from every pair of runs of so many minutes that is there."""
    minutes = options.minutes
    rows = [json.loads(path.read_text()) for path in sorted(options.mlruns.glob(f"{minutes:g}-*.json"))]
    found = {(row["seed"], row["rule"]): row for row in rows}
    seeds = [seed for seed, rule in sorted(found) if rule == "equal" and (seed, "shipped") in found]
    yield from (
        f"# Whole runs of {minutes:g} minutes: the shipped rule against equal shares",
        "",
        "`run all` with both rules at the same moment, each with one core; test accuracy of the ensemble, %.",
        "Trials, overrun and the share of the time at work in `fit` are those of both, the shipped rule first.",
        "",
        "| Seed | Shipped rule | Equal shares | Difference, points | Trials | Overrun, s | At work in `fit`, % |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    )
    for seed in seeds:
        shipped, equal = found[seed, "shipped"], found[seed, "equal"]
        accuracies = f"{100 * shipped['accuracy']:.2f} | {100 * equal['accuracy']:.2f}"
        overrun = ", ".join(f"{row['seconds'] - 60 * minutes:+.1f}" for row in (shipped, equal))
        busy = ", ".join(f"{100 * row['fit'] / row['seconds']:.0f}" for row in (shipped, equal))
        yield (
            f"| {seed} | {accuracies} | {_gain(shipped, equal):+.2f} "
            f"| {shipped['trials']}, {equal['trials']} | {overrun} | {busy} |"
        )
    gains = [_gain(found[seed, "shipped"], found[seed, "equal"]) for seed in seeds]
    error = f", standard error {statistics.stdev(gains) / math.sqrt(len(gains)):.2f}" if len(gains) > 1 else ""
    yield from ("", f"Mean difference {statistics.mean(gains):+.2f} points, n = {len(gains)}{error}.", "")
    yield from (f"`python benchmarks/search/sharing.py --minutes {minutes:g} --seeds {len(seeds)}`", "")
    yield from (f"- {key}: {value}" for key, value in machine().items())


def _gain(shipped: dict[str, float], equal: dict[str, float]) -> float:
    return 100 * (shipped["accuracy"] - equal["accuracy"])


if __name__ == "__main__":
    main()
