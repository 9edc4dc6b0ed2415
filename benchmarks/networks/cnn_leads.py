"""What each way to train a network faster, or better in the same time, is worth: one change at a time.

    python benchmarks/networks/cnn_leads.py                  rows a second
    python benchmarks/networks/cnn_leads.py --accuracy       validation accuracy after six epochs
    python benchmarks/networks/cnn_leads.py --accuracy --epochs 35 --only "as it is" "moved, erased, decayed"
    python benchmarks/networks/cnn_leads.py --accuracy --minutes 5 --only "as it is" "residual blocks"     in equal time
    KERAS_BACKEND=torch python benchmarks/networks/cnn_leads.py --accuracy --jobs 14      trainings that share a GPU

The study's best known network as it is, and with one thing otherwise, each in a process of its own that has all cores;
they take turns. Rows a second are those of the epochs after the first. Accuracies are those of 10,000 validation rows
after training on the other 50,000; the test rows stay closed. A call that was stopped goes on where it was: figures are
added to cnn_leads.json beside this file at once (cnn_leads-gpu-jax.json, say, on a machine with a GPU), and all of them
are written to a page of that name.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _kept import commands, keep_figures, kept, open_figures
from cnn_speed import BATCH, ROWS, apart, estimator, own_keras, rate, spread

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.data.dataset import load_dataset, make_split

KEPT = kept(__file__)
AS_IT_IS = "as it is"
WITHOUT_ONEDNN = "without oneDNN"  # set before TensorFlow is loaded
VALID = 10_000
Change = Callable[[Any], object]


def _one_step(model: Any) -> None:
    from fmnist_bench.models.networks import _callbacks

    _callbacks.STEPS_PER_EXECUTION = 1


def _keras_normalisation(model: Any) -> None:
    import keras

    from fmnist_bench.models.networks import cnn

    cnn.FusedBatchNormalization = keras.layers.BatchNormalization  # type: ignore[misc]


def _compiled(model: Any) -> None:
    import keras

    compile_ = keras.Model.compile
    keras.Model.compile = lambda network, *args, **kwargs: compile_(network, *args, **{**kwargs, "jit_compile": True})


def _give_back(model: Any) -> None:
    from fmnist_bench.models.networks import _exclusive

    _exclusive.KEEP.clear()


def _alternating(model: Any) -> None:
    """Mirror each image in every other pass, not by chance (Jordan, "94% on CIFAR-10 in 3.29 Seconds", 2024)."""
    from fmnist_bench.models.networks._batches import Batches

    draw = Batches.__getitem__

    def batch(own: Any, index: int) -> Any:
        images, targets = draw(own, index)
        number, place = divmod(index, own.batches_per_pass)
        rows = own._order[1][place * own.batch_size : (place + 1) * own.batch_size]
        at_first = np.random.default_rng(own.seed).random(len(own.images)) < 0.5
        mirrored = at_first[rows] ^ (number % 2 == 1)
        images[mirrored] = images[mirrored, :, ::-1]
        return images, targets

    Batches.__getitem__ = batch  # type: ignore[method-assign]
    model.set_params(flip=False)


def _set(**parameters: Any) -> Change:
    return lambda model: model.set_params(**parameters)


FASTER: dict[str, Change] = {
    AS_IT_IS: _set(),
    "float32": _set(precision="float32"),
    "one step an execution": _one_step,
    "Keras' batch normalisation": _keras_normalisation,
    "compiled": _compiled,
    WITHOUT_ONEDNN: _set(),
    "freed memory given back at once": _give_back,
    "pooling after the activation": _set(pool="after"),
    "dropout after each convolution": _set(conv_dropout=0.1),
    "without mirrored images": _set(flip=False),
    "with moved and erased images": _set(shift=1, erase=0.2),
    "batches of 64": _set(batch_size=BATCH // 2),
    "batches of 256": _set(batch_size=2 * BATCH),
}
BETTER: dict[str, Change] = {
    AS_IT_IS: _set(),
    "float32": _set(precision="float32"),
    "without label smoothing": _set(label_smoothing=0.0),
    "without averaging over the mirror image": _set(flip_average=False),
    "logits not scaled": _set(logit_scale=1.0),
    "pooling after the activation": _set(pool="after"),
    "average instead of maximum at the end": _set(head="average"),
    "without mirrored images": _set(flip=False, flip_average=False),
    "mirrored every other time": _alternating,
    "with moved and erased images": _set(shift=1, erase=0.2),
    "moved, erased, decayed": _set(shift=1, erase=0.2, weight_decay=2e-4),
    "residual blocks": _set(block="residual"),
    "batches of 256": _set(batch_size=2 * BATCH),
}


def main() -> None:
    options = _options()
    if options.one:
        print(json.dumps((accuracy if options.accuracy else speed)(options)))
        return
    found = open_figures(KEPT, rows=options.rows)
    length = ("epochs", options.epochs) if options.minutes is None else ("minutes", options.minutes)
    part, changes = (f"{length[1]:g} {length[0]}", BETTER) if options.accuracy else ("speed", FASTER)
    flags = ["--rows", options.rows, *(["--accuracy", f"--{length[0]}", length[1]] if options.accuracy else [])]
    values = found.setdefault(part, {})
    with ThreadPoolExecutor(options.jobs) as threads:
        for turn in range(options.seeds):
            missing = [name for name in options.only or changes if _is_missing(values, name, turn)]
            asked = {threads.submit(apart, __file__, "--one", name, "--seed", turn, *flags): name for name in missing}
            for future in as_completed(asked):
                name = asked[future]
                if error := future.exception():  # the others go on
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
                    continue
                values.setdefault(name, []).append(future.result())
                print(name, values[name][-1], flush=True)
                keep_figures(KEPT, found)
                write_text(KEPT.with_suffix(".md"), "\n".join(report(found)) + "\n")


def _is_missing(values: dict[str, list[float]], name: str, turn: int) -> bool:
    """Tell whether this turn is next: after one that failed no other is, so values stand in the order of seeds."""
    return len(values.get(name, [])) == turn and not (turn and name == "compiled")  # once: it takes minutes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accuracy", action="store_true", help="validation accuracy instead of rows a second")
    parser.add_argument("--epochs", type=int, default=6, metavar="N", help="of a training for accuracy (default 6)")
    parser.add_argument("--minutes", type=float, metavar="M", help="train for so long instead")
    parser.add_argument("--only", nargs="+", metavar="LEAD", choices=[*FASTER, *BETTER], help="these alone")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="rows an epoch (default 19968)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings side by side (default 1)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.jobs > 1 and not options.accuracy:
        parser.error("--jobs: rows a second are measured one at a time")
    return options


def speed(options: argparse.Namespace) -> float:
    """Rows a second with one change."""
    if options.one == WITHOUT_ONEDNN:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    data, model = load_dataset(subset="train"), estimator("6conv", epochs=3)
    FASTER[options.one](model)
    X, y = data.X[: options.rows], data.y[: options.rows]
    return rate(len(X), lambda tick: own_keras(model, X, y, tick))


def accuracy(options: argparse.Namespace) -> float:
    """Validation accuracy, %, with one change."""
    minutes = math.inf if options.minutes is None else options.minutes
    epochs = options.epochs if options.minutes is None else 10_000
    model = estimator("6conv", epochs=epochs, random_state=options.seed)
    data = load_dataset(subset="train")
    BETTER[options.one](model)
    split = make_split(data.y, VALID, options.seed)
    model.fit(data.X[split.train], data.y[split.train], deadline=time.monotonic() + 60 * minutes)
    return round(100 * model.score(data.X[split.validation], data.y[split.validation]), 2)


def _length(part: str) -> tuple[str, float]:
    number, kind = part.split()
    return kind, float(number)


def report(found: dict[str, Any]) -> Iterator[str]:
    """Write the page."""
    yield from ("# What each lead is worth", "", "Median of n (lowest to highest), and against the network as it is:")
    yield from ("its seconds for so many rows; points of accuracy.", "")
    if rates := found.get("speed"):
        yield from ("| One thing otherwise | Rows a second | n | Takes |", "| --- | ---: | ---: | ---: |")
        for name, values in rates.items():
            times = statistics.median(rates[AS_IT_IS]) / statistics.median(values)
            yield f"| {name} | {spread(values, 0)} | {len(values)} | {times:.2f} times as long |"
        yield ""
    trained = sorted((part for part in found if part.endswith((" epochs", " minutes"))), key=_length)
    for part in trained:
        scores = found[part]
        yield f"| One thing otherwise, {part} | Validation accuracy, % | n | Gain |"
        yield "| --- | ---: | ---: | ---: |"
        for name in sorted(scores, key=list(BETTER).index):
            values = scores[name]
            gains = [value - own for value, own in zip(values, scores.get(AS_IT_IS, []), strict=False)]
            gain = f"{statistics.mean(gains):+.2f}" if gains else "–"
            yield f"| {name} | {spread(values, 2)} | {len(values)} | {gain} |"
        yield ""
    other_rows = f" --rows {rows}" if (rows := found["measured"].get("rows", ROWS)) != ROWS else ""
    pairs = [part.split() for part in trained]
    calls = [*([""] if rates else []), *(f" --accuracy --{kind} {number}" for number, kind in pairs)]
    calls = [call + other_rows for call in calls]
    yield from (commands(__file__, found, calls), "")
    lines = {**machine(), **found["measured"]}
    lines["rows an epoch, for rows a second"] = lines.pop("rows", ROWS)  # accuracy: of all train rows
    yield from (f"- {key}: {value}" for key, value in lines.items())


if __name__ == "__main__":
    main()
