"""No regret: whether a run is as good as its own known network trained alone in the same minutes.

    python benchmarks/no_regret/no_regret.py --minutes 10 --seeds 3
    python benchmarks/no_regret/no_regret.py --minutes 30 --seeds 2

For each seed, one after the other on an idle machine: the default network of the study `cnn` alone, on all 60,000 train
rows with all cores, and `run all`. Both have the same minutes for everything, imports and data included. A call that
was stopped goes on: each measurement is a file below results/ with processor, revision and seed. no_regret.md is made
of all of them; the difference is paired by test rows.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.report.metrics import accuracy_interval, mcnemar

STARTED = time.monotonic() - (time.time() - psutil.Process().create_time())  # imports count
HERE = Path(__file__).resolve().parent
WHAT = ("network", "run")
END_SECONDS = 20.0  # of the network's minutes, to predict the test rows
LONG_MINUTES = 20.0  # from here on the network has the settings of its long trainings


def main() -> None:
    options = _options()
    if options.one:
        found = network(options) if options.one == "network" else whole_run(options)
        (path := place(options.one, options.minutes, options.seed)).parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(found) + "\n")
        return
    for seed in range(options.seeds):
        for what in WHAT:
            if not place(what, options.minutes, seed).exists():
                call = ("--one", what, "--minutes", options.minutes, "--seed", seed, "--mlruns", options.mlruns)
                subprocess.run([sys.executable, __file__, *map(str, call)], check=True)
            write_text(HERE / "no_regret.md", "\n".join(report()) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="of each measurement (default 10)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="repetitions (default 1)")
    parser.add_argument("--mlruns", type=Path, default=Path("mlruns-no-regret"), metavar="DIR", help="of the runs")
    parser.add_argument("--one", choices=WHAT, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def place(what: str, minutes: float, seed: int) -> Path:
    """File of one measurement on this machine at this revision."""
    about = machine()
    words = f"{about['processor']} {about.get('revision', '')}".replace("/", "-").split()
    return HERE / "results" / f"{minutes:g}m-{seed}-{what}-{'-'.join(words).replace(',', '')}.json"


def network(options: argparse.Namespace) -> dict[str, Any]:
    """Train the known network alone, and let it predict the test rows."""
    from fmnist_bench.config.loader import load_space
    from fmnist_bench.config.study import Study
    from fmnist_bench.data.dataset import load_dataset

    data, space = load_dataset("fashion-mnist", "train"), load_space("cnn")
    name = "airbench-long" if options.minutes >= LONG_MINUTES else "airbench"
    default = next(default for default in space.defaults if default.name == name)
    model = Study(space).pipeline(default.parameters).model
    deadline = STARTED + 60 * options.minutes - END_SECONDS
    model.set_params(epochs=1000, image_shape=data.image_shape, random_state=options.seed)
    model.fit(data.X, data.y, deadline=deadline)
    test = load_dataset("fashion-mnist", "test")
    return row("network", options, model.predict(test.X), test.y)


def whole_run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark `all`; take what its ensemble predicts for the test rows."""
    from fmnist_bench import run_benchmark
    from fmnist_bench.progress.displays import PlainLines

    outcome = run_benchmark(
        "all",
        budget=60 * options.minutes,
        seed=options.seed,
        fresh=True,
        mlruns=options.mlruns,
        progress=PlainLines(sys.stdout),
        started=STARTED,
    )
    who = outcome.findings.ensemble
    assert who is not None, "no trial was complete"
    return row("run", options, who.test_pred, outcome.findings.y_test)


def row(what: str, options: argparse.Namespace, predicted: Any, y: Any) -> dict[str, Any]:
    """What one measurement found; the rows that it got right as a word of 0 and 1."""
    right = "".join(map(str, (np.asarray(predicted) == y).astype(int)))
    seconds = time.monotonic() - STARTED
    return {
        "what": what,
        "minutes": options.minutes,
        "seed": options.seed,
        "seconds": seconds,
        **machine(),
        "right": right,
    }


def report() -> Iterator[str]:
    """Write the page, of every pair that is there."""
    rows = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]
    pairs: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for each in rows:
        key = each["minutes"], each["processor"], each.get("revision", ""), each["seed"]
        pairs.setdefault(key, {})[each["what"]] = each
    yield from (
        "# No regret: a run against its own network alone, in the same minutes",
        "",
        "Test accuracy, %, with Wilson's 95 % interval; the difference is paired by rows (McNemar's exact test).",
        "",
        "| Minutes | Processor | Revision | Seed | Network alone | Run | Run less network, points | p |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    )
    for (minutes, processor, revision, seed), pair in sorted(pairs.items()):
        if len(pair) == len(WHAT):
            yield f"| {minutes:g} | {processor} | {revision} | {seed} | {' | '.join(cells(pair))} |"
    yield from ("", "`python benchmarks/no_regret/no_regret.py --minutes M --seeds N`, nothing beside it")


def cells(pair: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Accuracies, difference and p-value of one pair."""
    right = {what: np.array(list(pair[what]["right"]), dtype=int) for what in WHAT}
    for what in WHAT:
        low, high = accuracy_interval(int(right[what].sum()), len(right[what]))
        yield f"{100 * right[what].mean():.2f} ({100 * low:.2f} to {100 * high:.2f})"
    truth = np.ones(len(right["run"]), dtype=int)
    found = mcnemar(truth, right["run"], right["network"])
    difference = 100 * (right["run"].mean() - right["network"].mean())
    yield f"{difference:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
    yield f"{found.p_value:.3f}"


if __name__ == "__main__":
    main()
