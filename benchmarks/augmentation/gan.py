"""How good the GAN's images are, and what they cost: fidelity, distances, what a network learns from them alone.

    python benchmarks/augmentation/gan.py --seeds 3

Fit and validation rows as `run all` draws them; the GAN, with its default arguments, sees the train rows alone.
The judge is a CNN trained on real train rows (the study's default configuration, 6 epochs), the pupil the same one
trained on as many synthetic rows. Writes gan.md, and gan.png with ten images of each class, beside itself.

References: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), Frechet distance; Kynkaanniemi et al.,
"Improved Precision and Recall Metric" (2019); Ravuri and Vinyals, "Classification Accuracy Score" (2019).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import load_dataset, make_split
from fmnist_bench.data.image_files import write_grid
from fmnist_bench.models.augmentation.gan import ConditionalGAN

VALID, EPOCHS, DRAWN, NEIGHBOURS, NOISE = 10_000, 6, 10_000, 3, 32.0
LINES = {
    "seconds": "GAN: seconds to train",
    "rate": "GAN: images a second to sample",
    "fidelity": "label fidelity: share of synthetic images that the judge takes for their class, %",
    "judge": "accuracy of the judge on test rows, %",
    "score": "classification accuracy score: accuracy of the pupil on test rows, %",
    "frechet": "Frechet distance to the test rows: synthetic",
    "frechet_fit": "Frechet distance to the test rows: train rows",
    "frechet_noise": f"Frechet distance to the test rows: test rows with noise of {NOISE:.0f} gray levels",
    "precision": "precision: synthetic images within the manifold of the train rows, %",
    "recall": "recall: train rows within the manifold of the synthetic images, %",
    "near": "median distance to the nearest train row, gray levels a pixel: synthetic",
    "near_valid": "median distance to the nearest train row, gray levels a pixel: validation rows",
    "copies": "synthetic images nearer to a train row than 99 % of the validation rows are, %",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one)))
        return
    found = [_apart(seed) for seed in range(options.seeds)]
    write_text(Path(__file__).with_suffix(".md"), "\n".join(report(found)) + "\n")


def _apart(seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(seed)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    )
    print(seed, found, flush=True)
    return found


def measure(seed: int) -> dict[str, float]:
    """Train GAN, judge and pupil with one seed; every figure of `LINES`."""
    train, test = load_dataset(subset="train"), load_dataset(subset="test")
    split = make_split(train.y, VALID, seed)
    X, y, X_valid = train.X[split.train], train.y[split.train], train.X[split.validation]
    started = time.perf_counter()
    gan = ConditionalGAN(random_state=seed, image_shape=train.image_shape).fit(X, y)
    seconds = time.perf_counter() - started
    synthetic, labels = gan.sample(len(X), y, random_state=seed)
    rate = len(X) / (time.perf_counter() - started - seconds)
    if seed == 0:
        write_grid(
            synthetic[np.concatenate([np.flatnonzero(y == k)[:10] for k in range(10)]).reshape(10, 10).T.ravel()],
            train.image_shape,
            10,
            Path(__file__).with_suffix(".png"),
        )
    judge, pupil = _network(X, y, seed), _network(synthetic, labels, seed)
    drawn, real = synthetic[:DRAWN], X[:DRAWN]
    noisy = np.clip(test.X + np.random.default_rng(seed).normal(0, NOISE, test.X.shape), 0, 255).astype(np.uint8)
    of_drawn, of_real, of_test, of_noisy = (_features(judge, rows) for rows in (drawn, real, test.X, noisy))
    near, near_valid = _nearest(drawn, X), _nearest(X_valid, X)
    return {
        "seconds": seconds,
        "rate": rate,
        "fidelity": 100 * float((judge.predict(drawn) == labels[:DRAWN]).mean()),
        "judge": 100 * judge.score(test.X, test.y),
        "score": 100 * pupil.score(test.X, test.y),
        "frechet": frechet_distance(of_drawn, of_test),
        "frechet_fit": frechet_distance(of_real, of_test),
        "frechet_noise": frechet_distance(of_noisy, of_test),
        "precision": 100 * coverage(of_drawn, of_real),
        "recall": 100 * coverage(of_real, of_drawn),
        "near": float(np.median(near)),
        "near_valid": float(np.median(near_valid)),
        "copies": 100 * float((near < np.quantile(near_valid, 0.01)).mean()),
    }


def _network(X: NDArray[np.uint8], y: NDArray[np.int64], seed: int) -> Any:
    space = load_space("cnn")
    parameters = {**space.defaults[0].parameters, "model__epochs": EPOCHS}
    return Study(space).pipeline(parameters, facts={"random_state": seed}).fit(X, y)


def _features(judge: Any, rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the judge's last layer sees."""
    import keras

    network = judge.model_.network_
    scaling, layers = network.layers[1:3]
    dense = [layer for layer in layers.layers if isinstance(layer, keras.layers.Dense)][-1]
    inner = keras.Model(network.inputs, keras.Model(layers.inputs, dense.input)(scaling(network.inputs[0])))
    inner.jit_compile = False
    images = rows.reshape(-1, *network.input_shape[1:])
    return np.asarray(inner.predict(images, batch_size=500, verbose=0), dtype=np.float64)


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Squared distance between two normal distributions with the means and covariances of the rows."""
    gap = first.mean(axis=0) - second.mean(axis=0)
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    return float(gap @ gap + np.trace(one + other - 2 * np.real(sqrtm(one @ other))))


def coverage(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Share of the points that lie as near to a reference point as its third neighbour, or nearer."""
    radii = np.concatenate([np.partition(d, NEIGHBOURS, axis=1)[:, NEIGHBOURS] for d in _squares(reference, reference)])
    inside = [(distances <= radii).any(axis=1) for distances in _squares(points, reference)]
    return float(np.concatenate(inside).mean())


def _nearest(rows: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean square distance, in gray levels a pixel, to the nearest row of the reference."""
    squares = [d.min(axis=1) for d in _squares(rows.astype(np.float32), reference.astype(np.float32))]
    return np.asarray(np.sqrt(np.maximum(np.concatenate(squares), 0) / rows.shape[1]), dtype=np.float64)


def _squares(rows: NDArray[Any], reference: NDArray[Any], batch: int = 500) -> Iterator[NDArray[Any]]:
    lengths = (reference**2).sum(axis=1)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        yield (part**2).sum(axis=1)[:, None] + lengths - 2 * part @ reference.T


def report(found: list[dict[str, float]]) -> Iterator[str]:
    """Write the page."""
    yield from ("# The GAN's images", "", f"Median (lowest to highest) of {len(found)} seeds.", "")
    yield from ("| | |", "| --- | ---: |")
    for key, words in LINES.items():
        values = [run[key] for run in found]
        yield f"| {words} | {_round(statistics.median(values))} ({_round(min(values))} to {_round(max(values))}) |"
    yield from (
        "",
        "![Ten images of each class](gan.png)",
        "",
        f"`python benchmarks/augmentation/gan.py --seeds {len(found)}`",
        "",
    )
    yield from (f"- {key}: {value}" for key, value in machine().items())


def _round(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()
