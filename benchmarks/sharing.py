"""The rule that shares the time between the studies against equal shares, in whole runs.

    python benchmarks/sharing.py --minutes 10 --seeds 3 --mlruns mlruns-sharing
    python benchmarks/sharing.py --minutes 30 --seeds 1 --mlruns mlruns-sharing

Runs `all` with both rules at the same time, each with one core: what disturbs the machine disturbs both alike.
Every call adds to what lies under --mlruns, and writes all of it to sharing.md beside itself.
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

sys.path.insert(0, str(Path(__file__).parent.parent))

from _pairs import run_each

from fmnist_bench import engine, run_benchmark
from fmnist_bench.budget import RATIO, next_arm
from fmnist_bench.environment import machine
from fmnist_bench.progress import PlainLines
from fmnist_bench.store import Store, write_text

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
    write_text(Path(__file__).with_suffix(".md"), "\n".join(report(options.mlruns)) + "\n")


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
    engine.next_arm = functools.partial(next_arm, ratio=RULES[rule])
    place = _place(options.mlruns, options.minutes, rule, seed)
    folder = place.with_suffix("")
    outcome = run_benchmark(
        "all", budget=60 * options.minutes, seed=seed, fresh=True, mlruns=folder, progress=PlainLines(sys.stdout)
    )
    with Store(folder).latest_run("all") as run:
        records = [record for arm in run.state["arms"] for record in run.records(arm)]
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


def report(mlruns: Path) -> Iterator[str]:
    """Write the page, from every pair of runs that is there."""
    rows = [json.loads(path.read_text()) for path in sorted(mlruns.glob("*.json"))]
    found = {(row["minutes"], row["seed"], row["rule"]): row for row in rows}
    pairs = [(m, s) for m, s, rule in sorted(found) if rule == "equal" and (m, s, "shipped") in found]
    yield from (
        "# Whole runs: the shipped rule against equal shares",
        "",
        "`run all` with both rules at the same moment, each with one core; test accuracy of the ensemble, %.",
        "Trials, overrun and the share of the time spent in `fit` are those of both, the shipped rule first.",
        "",
        "| Budget, min | Seed | Shipped rule | Equal shares | Difference, points | Trials | Overrun, s | In `fit`, % |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    )
    for minutes, seed in pairs:
        shipped, equal = found[minutes, seed, "shipped"], found[minutes, seed, "equal"]
        accuracies = f"{100 * shipped['accuracy']:.2f} | {100 * equal['accuracy']:.2f}"
        overrun = ", ".join(f"{row['seconds'] - 60 * minutes:+.1f}" for row in (shipped, equal))
        busy = ", ".join(f"{100 * row['fit'] / row['seconds']:.0f}" for row in (shipped, equal))
        yield (
            f"| {minutes:g} | {seed} | {accuracies} | {_gain(shipped, equal):+.2f} "
            f"| {shipped['trials']}, {equal['trials']} | {overrun} | {busy} |"
        )
    yield ""
    for minutes in sorted({m for m, _ in pairs}):
        gains = [_gain(found[m, s, "shipped"], found[m, s, "equal"]) for m, s in pairs if m == minutes]
        error = f", standard error {statistics.stdev(gains) / math.sqrt(len(gains)):.2f}" if len(gains) > 1 else ""
        yield f"- {minutes:g} minutes: mean difference {statistics.mean(gains):+.2f} points, n = {len(gains)}{error}"
    yield from ("", "`python benchmarks/sharing.py --minutes 10 --seeds 3`, then `--minutes 30 --seeds 1`", "")
    yield from (f"- {key}: {value}" for key, value in machine().items())


def _gain(shipped: dict[str, float], equal: dict[str, float]) -> float:
    return 100 * (shipped["accuracy"] - equal["accuracy"])


if __name__ == "__main__":
    main()
