"""What rows that were withheld still give a network that learns from them in the last part of its time.

    python benchmarks/fine_tuning/fine_tuning.py --seconds 30 120 --seeds 4

A network learns from 5,000 train rows by the clock, on one core: alone; with as many withheld rows from the beginning;
or with these once they have scored it, as a run does. So many are withheld that their worth can be told from chance:
10,000 other train rows count the errors, and the test rows stay closed. As many networks as there are cores run side by
side. A call that was stopped goes on: each measurement is a file below results/. The page is made of all of them.
"""

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _pairs import run_each

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text

HERE = Path(__file__).resolve().parent
ROWS, SCORED = 5_000, 10_000
WITHHELD, ALL, TUNED = ARMS = ("train rows alone", "all rows from the beginning", "fine-tuned on all rows")
SETTINGS: dict[str, Any] = {"filters": 16, "shift": 1, "erase": 0.2, "weight_decay": 2e-4, "epochs": 10_000}


def main() -> None:
    options = _options()
    if options.one:
        (path := place(options.one, options.seconds[0], options.seed)).parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(measure(options.one, options.seconds[0], options.seed)) + "\n")
        return
    asked = [(arm, seconds, seed) for seconds in options.seconds for seed in range(options.seeds) for arm in ARMS]
    missing = [one for one in asked if not place(*one).exists() and not options.page]
    run_each(__file__, [("--one", arm, "--seconds", seconds, "--seed", seed) for arm, seconds, seed in missing])
    write_text(HERE / "fine_tuning.md", "\n".join(report()) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[30, 120], metavar="S", help="of a training")
    parser.add_argument("--seeds", type=int, default=4, metavar="N", help="repetitions (default 4)")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--one", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def place(arm: str, seconds: int, seed: int) -> Path:
    """File of one measurement on this machine at this revision."""
    about = machine()
    words = f"{seconds}s {seed} {arm} {_processor(about)} {about.get('revision', '')}"
    return HERE / "results" / f"{'-'.join(re.findall(r'[A-Za-z0-9.=]+', words))}.json"


def _processor(about: dict[str, Any]) -> str:
    """Processor without the number of cores, which differs between the call and the one core of a measurement."""
    return str(about["processor"]).rpartition(", ")[0]


def measure(arm: str, seconds: int, seed: int) -> dict[str, Any]:
    """Train one network; count its errors when it was scored, and in the end."""
    from fmnist_bench.config.loader import load_space
    from fmnist_bench.config.study import Study
    from fmnist_bench.data.dataset import load_dataset, make_split
    from fmnist_bench.trials.fine_tuning import end_of_schedule

    data, space = load_dataset("fashion-mnist", "train"), load_space("cnn")
    split = make_split(data.y, SCORED, seed).nested(data.y, 2 * ROWS + SCORED, SCORED, seed)
    train, withheld = np.split(np.random.default_rng(seed).permutation(split.train), 2)
    rows = split.train if arm == ALL else train
    model = Study(space).pipeline(space.defaults[0].parameters).model
    model.set_params(**SETTINGS, image_shape=data.image_shape, random_state=seed)
    now = time.monotonic()
    end = now + seconds
    model.fit(data.X[rows], data.y[rows], deadline=end_of_schedule(now, end) if arm == TUNED else end)
    epochs = SETTINGS["epochs"] * model.schedule_share_
    scored = accuracy(model, data, split.validation)
    if arm == TUNED:
        model.fine_tune(data.X[train], data.y[train], (data.X[withheld], data.y[withheld]), deadline=end)
    about = {"arm": arm, "asked": seconds, "seed": seed, **machine()}
    about["processor"] = _processor(about)
    final = accuracy(model, data, split.validation)
    return {**about, "seconds": time.monotonic() - now, "epochs": epochs, "scored": scored, "accuracy": final}


def accuracy(model: Any, data: Any, rows: Any) -> float:
    """Share of the rows whose label it finds."""
    return float((model.predict(data.X[rows]) == data.y[rows]).mean())


def report() -> Iterator[str]:
    """Write the page, of everything that was measured."""
    found = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]
    yield from ("# Withheld rows in the last part of a training", "")
    yield f"One core, {ROWS:,} train rows and as many withheld, accuracy in % of {SCORED:,} others; mean over n seeds."
    yield 'Gain is that over train rows alone, with its standard error; "scored" is a network before fine-tuning.'
    for processor in sorted({row["processor"] for row in found}):
        yield from ("", f"## {processor}", "")
        yield "| Seconds | Network | n | Epochs | Scored | In the end | Gain | Revision |"
        yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |"
        own = [row for row in found if row["processor"] == processor]
        for seconds in sorted({row["asked"] for row in own}):
            part = [row for row in own if row["asked"] == seconds]
            yield from (_line(arm, part) for arm in ARMS if any(row["arm"] == arm for row in part))
    yield from ("", "`python benchmarks/fine_tuning/fine_tuning.py --seconds S... --seeds N`, nothing beside it")


def _line(arm: str, part: list[dict[str, Any]]) -> str:
    own = [row for row in part if row["arm"] == arm]
    alone = {row["seed"]: row["accuracy"] for row in part if row["arm"] == WITHHELD}
    gains = [100 * (row["accuracy"] - alone[row["seed"]]) for row in own if row["seed"] in alone]
    error = f" ± {statistics.stdev(gains) / len(gains) ** 0.5:.2f}" if len(gains) > 1 else ""
    gain = "–" if arm == WITHHELD or not gains else f"{statistics.fmean(gains):+.2f}{error}"
    mean = {name: statistics.fmean(row[name] for row in own) for name in ("epochs", "scored", "accuracy")}
    cells = [str(own[0]["asked"]), arm, str(len(own)), f"{mean['epochs']:.0f}", f"{100 * mean['scored']:.2f}"]
    cells += [f"{100 * mean['accuracy']:.2f}", gain, ", ".join(sorted({row.get("revision", "") for row in own}))]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
