"""What a network learns in the same seconds on one core: the default one, and others that differ in one thing or two.

    python benchmarks/learning_per_second/learning.py --minutes 5 --seeds 3
    python benchmarks/learning_per_second/learning.py --minutes 30 --only "6conv" "air, Muon"

Each network is trained on one core by the clock, on all train rows but 10,000 that count its errors; the test rows stay
closed. As many as there are cores run side by side, so that what is compared is disturbed alike. A call that was
stopped goes on: each measurement is a file below results/ with processor, revision and seed. learning.md is made of all
of them; differences are of networks with the same seed.
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
VALID = 10_000
LONG_MINUTES = 20.0  # from here on networks have the settings of long trainings
BASE = "6conv"
SIX: dict[str, Any] = {"optimizer": "sgd", "pool": "before", "whiten": False, "filters": 32}
AIR: dict[str, Any] = {"optimizer": "muon", "pool": "early", "whiten": True, "filters": 48}
MUON = {**SIX, "optimizer": "muon"}
CHANGES: dict[str, dict[str, Any]] = {
    BASE: SIX,
    "6conv, Muon": MUON,
    "air": {**AIR, "optimizer": "sgd"},
    "air, Muon": AIR,
    "air, Muon, not whitened": {**AIR, "whiten": False},
    "air, Muon, rate halved": {**AIR, "learning_rate": 0.2},
    "air, Muon, rate doubled": {**AIR, "learning_rate": 0.8},
    "air, Muon, batches of 256": {**AIR, "batch_size": 256},
    "air, Muon, label smoothing 0.2": {**AIR, "label_smoothing": 0.2},
    "air, Muon, 32 filters": {**AIR, "filters": 32},
    "air, Muon, moved by a pixel": {**AIR, "shift": 1},
}


def main() -> None:
    options = _options()
    if options.one:
        found = measure(options.one, options.minutes, options.seed)
        (path := place(options.one, options.minutes, options.seed)).parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(found) + "\n")
        return
    if not options.page:
        asked = [(name, seed) for seed in range(options.seeds) for name in options.only]
        missing = [pair for pair in asked if not place(pair[0], options.minutes, pair[1]).exists()]
        calls = [("--one", name, "--minutes", options.minutes, "--seed", seed) for name, seed in missing]
        run_each(__file__, calls)
    write_text(HERE / "learning.md", "\n".join(report()) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, metavar="M", help="of each training (default 5)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--only", nargs="+", default=[*CHANGES], choices=[*CHANGES], metavar="NAME", help="these alone")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--one", choices=[*CHANGES], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def place(name: str, minutes: float, seed: int) -> Path:
    """File of one measurement on this machine at this revision."""
    about = machine()
    words = f"{minutes:g}m {seed} {name} {processor(about)} {about.get('revision', '')}"
    return HERE / "results" / f"{'-'.join(re.findall(r'[A-Za-z0-9.=]+', words))}.json"


def processor(about: dict[str, Any]) -> str:
    """Processor without the number of cores, which differs between the call and the one core of a measurement."""
    return str(about["processor"]).rpartition(", ")[0]


def measure(name: str, minutes: float, seed: int) -> dict[str, Any]:
    """Train one network, and count the validation rows that it gets right."""
    from fmnist_bench.config.loader import load_space
    from fmnist_bench.config.study import Study
    from fmnist_bench.data.dataset import load_dataset, make_split

    data, space = load_dataset("fashion-mnist", "train"), load_space("cnn")
    split = make_split(data.y, VALID, seed)
    known = "6conv-long" if minutes >= LONG_MINUTES else "6conv"
    default = next(default for default in space.defaults if default.name == known)
    model = Study(space).pipeline(default.parameters).model
    model.set_params(**CHANGES[name], epochs=1000, image_shape=data.image_shape)
    started = time.monotonic()
    model.set_params(random_state=seed)
    model.fit(data.X[split.train], data.y[split.train], deadline=started + 60 * minutes)
    seconds = time.monotonic() - started
    probabilities, y = model.predict_proba(data.X[split.validation]), data.y[split.validation]
    right = probabilities.argmax(axis=1) == y
    log_loss = -float(np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-15)).mean())
    about = {"name": name, "minutes": minutes, "seed": seed, **machine()}
    about["processor"] = processor(about)
    epochs = 1000 * model.schedule_share_
    return {**about, "seconds": seconds, "epochs": epochs, "log_loss": log_loss, "accuracy": float(right.mean())}


def report() -> Iterator[str]:
    """Write the page, of everything that was measured."""
    rows = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]
    yield from ("# What a network learns in the same seconds", "")
    yield from (f"One core, 50,000 train rows, errors of {VALID:,} validation rows; median over n seeds.", "")
    for minutes, processor in sorted({(row["minutes"], row["processor"]) for row in rows}):
        part = [row for row in rows if (row["minutes"], row["processor"]) == (minutes, processor)]
        yield from (f"## {minutes:g} minutes, {processor}", "")
        yield "| Network | n | Accuracy, % | Log loss | Epochs | Fewer errors than the first, % | Revision |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
        yield from (line(name, part) for name in CHANGES if any(row["name"] == name for row in part))
        yield ""
    yield "`python benchmarks/learning_per_second/learning.py --minutes M --seeds N`, nothing beside it"


def line(name: str, rows: list[dict[str, Any]]) -> str:
    """One network's row of the page."""
    own = [row for row in rows if row["name"] == name]
    first = {row["seed"]: row for row in rows if row["name"] == BASE}
    accuracies = [100 * row["accuracy"] for row in own]
    fewer = [100 * (1 - (1 - r["accuracy"]) / (1 - first[r["seed"]]["accuracy"])) for r in own if r["seed"] in first]
    gain = (
        "–"
        if name == BASE or not fewer
        else f"{statistics.median(fewer):+.1f} ({min(fewer):+.1f} to {max(fewer):+.1f})"
    )
    cells = [
        name,
        str(len(own)),
        f"{statistics.median(accuracies):.2f} ({min(accuracies):.2f} to {max(accuracies):.2f})",
    ]
    cells += [f"{statistics.median(row['log_loss'] for row in own):.3f}"]
    cells += [f"{statistics.median(row['epochs'] for row in own):.1f}", gain]
    return f"| {' | '.join([*cells, ', '.join(sorted({row.get('revision', '') for row in own}))])} |"


if __name__ == "__main__":
    main()
