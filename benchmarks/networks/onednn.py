"""What TensorFlow gains by oneDNN on this processor, on one core, as a trial has it: rows a second.

    pip install "fmnist-bench[weights]"
    python benchmarks/networks/onednn.py

TensorFlow takes oneDNN by itself only where the processor has instructions for VNNI, BF16 or AMX; `fmnist_bench` asks
for it everywhere. Each way in a process of its own, in turns. "Keras' predict" gives the 6-conv network's rows to
`keras.Model.predict` as an array, instead of as `fmnist_bench` does. Writes onednn.md beside itself.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cnn_speed import BATCH, apart, estimator, own_keras, rate, spread

from fmnist_bench._utils.environment import allowed_cores, machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.data.dataset import load_dataset

WAYS = {"with oneDNN": "1", "without": "0"}
ROWS = 20 * BATCH
GAN_STEPS = 20


class Enough(Exception):
    """Ends a training that is only timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = WAYS[options.one]  # TensorFlow is not loaded yet
        os.sched_setaffinity(0, allowed_cores()[:1])
        print(json.dumps(speeds()))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.turns):
        for way in WAYS:
            found[way].append(apart(__file__, "--one", way))
            print(way, found[way][-1], flush=True)
    write_text(Path(__file__).resolve().with_suffix(".md"), "\n".join(report(found)) + "\n")


def speeds() -> dict[str, float]:
    """Rows a second of everything that computes by TensorFlow."""
    data = load_dataset(subset="train")
    X, y = data.X[:ROWS], data.y[:ROWS]
    fitted = estimator("6conv", epochs=3)
    found = {"6-conv, training": rate(ROWS, lambda tick: own_keras(fitted, X, y, tick))}
    found["4-conv, training"] = rate(ROWS, lambda tick: own_keras(estimator("4conv", epochs=3), X, y, tick))
    images = X.reshape(-1, 28, 28, 1)
    fitted.set_params(flip_average=False)
    found["6-conv, predicting"] = timed(lambda: fitted.predict_proba(X))
    found["6-conv, Keras' predict"] = timed(lambda: fitted.network_.predict(images, batch_size=512, verbose=0))
    found["GAN, training"] = gan(X, y)
    found["EfficientNet-Lite0, features"] = features(X, y)
    found["EfficientNet-Lite0, last four blocks, training"] = fine_tuning(X, y, keras_layer=False)
    found["the same with Keras' depthwise layer"] = fine_tuning(X, y, keras_layer=True)
    return found


def timed(compute: Callable[[], Any]) -> float:
    """Rows a second of the second call; the first one traces the graph."""
    compute()
    started = time.perf_counter()
    compute()
    return round(ROWS / (time.perf_counter() - started), 1)


def gan(X: Any, y: Any) -> float:
    """Rows a second of training the GAN."""
    from fmnist_bench.models.augmentation import gan as augment

    augment.STEPS_AN_EPOCH, augment.Judge.rows = GAN_STEPS, 64  # whom a judgement after each would keep busy
    model = augment.ConditionalGAN(steps=3 * GAN_STEPS, random_state=0)
    ends: list[float] = []

    def tick(step: int, fidelity: float) -> None:
        ends.append(time.perf_counter())
        if len(ends) == 3:  # before what so few steps have taught it is judged
            raise Enough

    with contextlib.suppress(Enough):
        model.fit(X, y, monitor=tick)
    return round(2 * GAN_STEPS * model.batch_size / (ends[-1] - ends[0]), 1)


def features(X: Any, y: Any) -> float:
    """Rows a second through the frozen part of a pretrained network, images of 64 pixels."""
    from fmnist_bench.models.networks.transfer import TransferClassifier

    model = TransferClassifier(image_size=64, epochs=1, random_state=0).fit(X[:BATCH], y[:BATCH])
    return timed(lambda: model._embed(model._to_images(X)))


def fine_tuning(X: Any, y: Any, keras_layer: bool) -> float:
    """Rows a second of training the last four blocks of a pretrained network, images of 64 pixels."""
    import keras

    from fmnist_bench.models.networks import _efficientnet_lite0
    from fmnist_bench.models.networks.transfer import TransferClassifier

    if keras_layer:
        _efficientnet_lite0.SmallPlaneDepthwiseConv2D = keras.layers.DepthwiseConv2D
    model = TransferClassifier(image_size=64, unfreeze=4, epochs=3, random_state=0)
    return rate(ROWS // 2, lambda tick: own_keras(model, X[: ROWS // 2], y[: ROWS // 2], tick))


def report(found: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """Write the page."""
    yield from ("# oneDNN", "")
    turns = len(next(iter(found.values())))
    yield f"One core; rows a second, median (lowest to highest) of {turns} runs each."
    yield from ("", f"| | {' | '.join(found)} | times as fast |", "| --- | ---: | ---: | ---: |")
    for what in next(iter(found.values()))[0]:
        values = [[run[what] for run in runs] for runs in found.values()]
        times = statistics.median(values[0]) / statistics.median(values[1])
        yield f"| {what} | {' | '.join(spread(each, 0) for each in values)} | {times:.2f} |"
    yield from ("", "`python benchmarks/networks/onednn.py`", "")
    yield from (f"- {key}: {value}" for key, value in machine().items())


if __name__ == "__main__":
    main()
