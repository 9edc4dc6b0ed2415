"""How fast networks train here, beside Keras as shipped and plain PyTorch, and what that buys in accuracy.

    pip install "fmnist-bench[torch]"
    python benchmarks/networks/cnn_speed.py                          rows a second
    python benchmarks/networks/cnn_speed.py --minutes 5 --seeds 3    test accuracy of one network after so much time
    python benchmarks/networks/cnn_speed.py --minutes 40 --network 6conv-long

Every figure comes from a process of its own that has all cores, and the GPU where there is one. Rows a second are those
of the epochs after the first, in which graphs are traced and compiled, without any scoring; the programs take turns.
Keras runs on the back end that KERAS_BACKEND names, as shipped in float32. On a CPU it does not compile TensorFlow's
graphs by XLA, so that is a program of its own, measured once: it takes minutes. Without PyTorch its rows are left out,
and it is said. A call that was stopped goes on where it was: every figure is added to cnn_speed.json beside this file
at once (cnn_speed-gpu-jax.json, say, on a machine with a GPU), and all of them are written to a page of that name.
Delete the json to measure anew.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _kept import commands, keep_figures, kept, open_figures

from fmnist_bench._utils.environment import machine, matrix_unit
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.loader import load_space
from fmnist_bench.data.dataset import load_dataset

BATCH = 128
ROWS = 156 * BATCH
NETWORKS = ("4conv", "6conv")
CONTENDERS = ("CNNClassifier", "Keras, as shipped", "Keras, compiled", "PyTorch", "PyTorch, compiled")
KEPT = kept(__file__)


def main() -> None:
    options = _options()
    if options.one:
        print(json.dumps(run(options.one, options)))
        return
    found = {"speed": {}, "accuracy": [], **open_figures(KEPT, rows=options.rows)}
    for figure in measure_accuracy(found, options) if options.minutes else measure_speed(found, options):
        print(figure, flush=True)
        keep_figures(KEPT, found)
        write_text(KEPT.with_suffix(".md"), "\n".join(report(found)) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, metavar="M", help="train one network for so long instead")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="rows an epoch (default 19968)")
    parser.add_argument("--one", choices=[*CONTENDERS, "accuracy"], help=argparse.SUPPRESS)
    parser.add_argument("--network", default="6conv", help="default configuration of the study cnn (default 6conv)")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_speed(found: dict[str, Any], options: argparse.Namespace) -> Iterator[Any]:
    """Add what is missing of rows a second, a round of all programs at a time."""
    contenders = [name for name in CONTENDERS if "PyTorch" not in name or importlib.util.find_spec("torch")]
    if left_out := set(CONTENDERS) - set(contenders):
        print(f"not installed, left out: {', '.join(sorted(left_out))}", flush=True)
    for network in NETWORKS:
        for turn in range(options.seeds):
            for contender in contenders:
                rates = found["speed"].setdefault(network, {}).setdefault(contender, [])
                if len(rates) <= turn and not (turn and contender == "Keras, compiled"):
                    rates.append(apart(__file__, "--one", contender, "--network", network, "--rows", options.rows))
                    yield network, contender, rates[-1]


def measure_accuracy(found: dict[str, Any], options: argparse.Namespace) -> Iterator[Any]:
    """Add what is missing of test accuracy after so many minutes, a seed at a time."""
    what = {"minutes": options.minutes, "network": options.network}
    there = [row["seed"] for row in found["accuracy"] if row.items() >= what.items()]
    for seed in set(range(options.seeds)) - set(there):
        arguments = ("--minutes", options.minutes, "--network", options.network, "--seed", seed)
        found["accuracy"].append({**what, **apart(__file__, "--one", "accuracy", *arguments)})
        yield found["accuracy"][-1]


def apart(script: str, *arguments: object) -> Any:
    """Call a script with some arguments; return what the last line that it prints says, JSON."""
    done = subprocess.run([sys.executable, script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(contender: str, options: argparse.Namespace) -> Any:
    """Measure one contender in this process."""
    data = load_dataset("fashion-mnist", "train")
    if contender == "accuracy":
        return accuracy(data.X, data.y, options)
    if "PyTorch" in contender:
        os.environ["KERAS_BACKEND"] = "torch"  # TensorFlow and PyTorch in one process may crash
    if contender.startswith("Keras"):
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)  # as shipped: fmnist_bench sets it when it is imported
    X, y = data.X[: options.rows], data.y[: options.rows]
    model = estimator(options.network, epochs=3)
    if contender == "CNNClassifier":
        return rate(len(X), lambda tick: own_keras(model, X, y, tick))
    if contender.startswith("Keras"):
        return rate(len(X), lambda tick: plain_keras(model, X, y, tick, "compiled" in contender))
    return rate(len(X), lambda tick: plain_torch(model, X, y, tick, "compiled" in contender))


def rate(rows: int, train: Callable[[Callable[[], None]], object]) -> float:
    """Rows a second of the epochs after the first; `train` calls what it is given at the end of each."""
    ends: list[float] = []
    train(lambda: ends.append(time.perf_counter()))
    return round(rows * (len(ends) - 1) / (ends[-1] - ends[0]), 1)


def estimator(name: str, **arguments: Any) -> Any:
    """Build a default configuration of the shipped study."""
    from fmnist_bench.config.study import Study

    study = Study(load_space("cnn"))
    default = next(default for default in study.space.defaults if default.name == name)
    pipeline = study.pipeline(dict(default.parameters), facts={"random_state": 0})
    return pipeline.model.set_params(batch_size=BATCH, **arguments)


def own_keras(model: Any, X: Any, y: Any, tick: Callable[[], None]) -> None:
    """Train by `CNNClassifier`, and be told of the end of each epoch."""
    from fmnist_bench.models.networks._callbacks import TrainingCallback

    end = TrainingCallback.on_epoch_end
    TrainingCallback.on_epoch_end = lambda course, epoch, logs=None: (end(course, epoch, logs), tick())  # type: ignore[assignment]
    model.fit(X, y)


def plain_network(model: Any) -> Any:
    """Build the same network of Keras' own layers alone."""
    import keras

    def plain(layer: Any) -> Any:
        shipped = keras.layers.BatchNormalization
        return shipped.from_config(layer.get_config()) if isinstance(layer, shipped) else layer

    inputs = keras.Input((28, 28, 1))
    network = keras.models.clone_model(model._build((28, 28, 1), 10), clone_function=plain)
    return keras.Model(inputs, network(keras.layers.Rescaling(1 / 255)(inputs)))


def plain_keras(model: Any, X: Any, y: Any, tick: Callable[[], None], compiled: bool) -> None:
    """Train the same network as Keras' guides do."""
    import keras

    network = plain_network(model)
    network.compile(
        keras.optimizers.SGD(model.learning_rate, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=True if compiled else "auto",
    )
    end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tick())
    network.fit(X.reshape(-1, 28, 28, 1), y, batch_size=BATCH, epochs=model.epochs, callbacks=[end], verbose=0)


def plain_torch(model: Any, X: Any, y: Any, tick: Callable[[], None], compiled: bool) -> None:
    """Train the same network in PyTorch by hand, in bfloat16 where that is faster."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    halved = device == "cuda" or matrix_unit() in ("AMX", "AVX-512 BF16")  # elsewhere it takes several times as long
    images = (torch.tensor(X, device=device).reshape(-1, 1, 28, 28).float() / 255).to(memory_format=torch.channels_last)
    labels = torch.tensor(np.asarray(y, np.int64), device=device)
    network = torch_network(model).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), model.learning_rate, momentum=0.9, nesterov=True)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=model.label_smoothing)
    forward = torch.compile(network) if compiled else network
    for _ in range(model.epochs):
        order = torch.randperm(len(images), device=device)
        for rows in order[: len(order) // BATCH * BATCH].split(BATCH):
            batch = images[rows]
            if model.flip:
                mirrored = torch.rand(BATCH, device=device) < 0.5
                batch[mirrored] = batch[mirrored].flip(3)
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=halved):
                loss = loss_of(forward(batch), labels[rows])
            loss.backward()
            optimizer.step()
        loss.item()  # a GPU works behind the program's back
        tick()


def torch_network(model: Any) -> Any:
    """Build what `CNNClassifier` builds for the two networks of the study."""
    from torch import nn

    layers: list[Any] = []
    channels, size = 1, 28
    for conv in range(model.n_convs):
        filters = round(model.filters * model.growth ** (conv // model.convs_per_block))
        layers.append(nn.Conv2d(channels, filters, model.kernel_size, padding="same", bias=not model.batch_norm))
        if pool := (conv + 1) % model.convs_per_block == 0 and (model.head == "flatten" or conv < model.n_convs - 1):
            size //= 2
        layers += [nn.MaxPool2d(2)] if pool and model.pool == "before" else []
        layers += [nn.BatchNorm2d(filters), nn.ReLU()] if model.batch_norm else [nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool and model.pool == "after" else []
        layers += [nn.Dropout(model.conv_dropout)] if conv and model.conv_dropout else []
        channels = filters
    layers += [nn.Flatten()] if model.head == "flatten" else [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    units = channels * size * size if model.head == "flatten" else channels
    for layer in range(model.n_dense):
        wide = max(1, model.dense_units // 4**layer)
        layers += [nn.Linear(units, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(model.dropout)]
        units = wide
    return nn.Sequential(*layers, nn.Linear(units, 10))


def accuracy(X: Any, y: Any, options: argparse.Namespace) -> dict[str, float]:
    """Train a known network on all train rows for so many minutes; open the test set once."""
    model = estimator(options.network, epochs=10_000, random_state=options.seed)
    started = time.monotonic()
    model.fit(X, y, deadline=started + 60 * options.minutes)
    seconds = time.monotonic() - started
    test = load_dataset("fashion-mnist", "test")
    return {"seed": options.seed, "seconds": round(seconds, 1), "accuracy": model.score(test.X, test.y)}


def spread(values: list[float], digits: int) -> str:
    """Median, lowest and highest."""
    middle, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def report(found: dict[str, Any]) -> Iterator[str]:
    """Write the page."""
    yield from ("# How fast networks train", "")
    if found["speed"]:
        yield from _speeds(found["speed"])
    trained = sorted({(row["minutes"], row["network"]) for row in found["accuracy"]})
    if trained:
        yield from _accuracies(found["accuracy"], trained)
    other_rows = f" --rows {rows}" if (rows := found["measured"].get("rows", ROWS)) != ROWS else ""
    calls = [*([""] if found["speed"] else []), *(f" --minutes {m:g} --network {network}" for m, network in trained)]
    yield from (commands(__file__, found, [call + other_rows for call in calls]), "")
    lines = {**machine(), **found["measured"]}
    rows = lines.pop("rows", ROWS)
    if found["speed"]:
        lines["rows an epoch, for rows a second"] = rows
    yield from (f"- {key}: {value}" for key, value in lines.items())


def _speeds(speed: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    yield from ("## Rows a second", "")
    yield "In batches of 128; median of n runs (lowest to highest), and what `CNNClassifier` does in the same time."
    yield from ("", "| Network | Program | Rows a second | n | `CNNClassifier` |", "| --- | --- | ---: | ---: | ---: |")
    for network, rates in speed.items():
        ours = statistics.median(rates["CNNClassifier"])
        for contender, values in rates.items():
            middle = statistics.median(values)
            yield f"| {network} | {contender} | {spread(values, 0)} | {len(values)} | {ours / middle:.2f} times |"
    yield ""


def _accuracies(accuracy: list[dict[str, Any]], trained: list[tuple[float, str]]) -> Iterator[str]:
    yield from ("## Test accuracy of one network", "")
    yield "Trained on all 60,000 rows, the test rows seen once at the end."
    yield from ("", "| Minutes | Network | Test accuracy, % | n |", "| ---: | --- | ---: | ---: |")
    for minutes, network in trained:
        rows = [row for row in accuracy if (row["minutes"], row["network"]) == (minutes, network)]
        yield f"| {minutes:g} | {network} | {spread([100 * row['accuracy'] for row in rows], 2)} | {len(rows)} |"
    yield ""


if __name__ == "__main__":
    main()
