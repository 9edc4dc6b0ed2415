"""How to choose members: by accuracy or by log loss, calibrated or not, and on how many validation rows.

    python -m fmnist_bench run all --budget 10m --mlruns mlruns-0
    python benchmarks/ensemble/selection.py mlruns-0

Takes the newest run of `all` below each folder, with the best trials of every study that it kept. Each way chooses on
stratified parts of the validation rows and is then counted on the test rows. Writes selection.md beside itself.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.ensemble.selection import fit_temperature, greedy_selection, weighted_mean, with_temperature
from fmnist_bench.report.metrics import log_loss
from fmnist_bench.report.opening import open_test_rows, predict_test
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import best

KEPT, STEPS, DRAWS = 3, 25, 10
SIZES = (1000, 2500, 5000)
Array = NDArray[Any]
Choose = Callable[[Array, Array], Array]


def by_accuracy(probabilities: Array, y: Array) -> Array:
    """Greedy selection as before: by accuracy, equal ones by log loss."""
    counts, total, rows = np.zeros(len(probabilities)), np.zeros(probabilities.shape[1:]), np.arange(len(y))
    found: list[tuple[tuple[float, float], Array]] = []
    for step in range(1, STEPS + 1):
        means = [(total + member) / step for member in probabilities]
        scores = [(float((m.argmax(axis=1) == y).mean()), float(np.log(m[rows, y] + 1e-15).mean())) for m in means]
        chosen = max(range(len(scores)), key=lambda i: scores[i])
        counts[chosen] += 1
        total += probabilities[chosen]
        found.append((scores[chosen], counts.copy()))
    return max(found, key=lambda pair: pair[0])[1] / max(found, key=lambda pair: pair[0])[1].sum()


WAYS: dict[str, tuple[bool, Choose]] = {
    "accuracy": (False, by_accuracy),
    "log loss": (False, greedy_selection),
    "accuracy, members calibrated": (True, by_accuracy),
    "log loss, members calibrated": (True, greedy_selection),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mlruns", nargs="+", type=Path, metavar="DIR", help="folders of results")
    lines = ["# Choosing the members of an ensemble", ""]
    for folder in parser.parse_args().mlruns:
        with open_folder(newest_run("all", folder)) as run:
            lines += [*table(run), ""]
    lines += [f"`{' '.join(['python', 'benchmarks/ensemble/selection.py', *sys.argv[1:]])}`", ""]
    lines += [f"- {name}: {value}" for name, value in machine().items()]
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


def table(run: Run) -> Iterator[str]:
    """Give the table of one run."""
    test = open_test_rows(run)
    kept = [r for study in run.state["studies"] for r in best(run.records(study), KEPT)]
    predicted, _ = predict_test(run, [(r.study, r.number) for r in kept], test, ())
    keys = [(r.study, r.number) for r in kept if (r.study, r.number) in predicted]
    on_valid = np.stack([run.valid_probabilities(*key) for key in keys]).astype(np.float64)
    on_test = np.stack([predicted[key] for key in keys]).astype(np.float64)
    y = run.y_valid()
    sizes = [n for n in SIZES if n <= len(y)]
    best_single = max((p.argmax(axis=1) == test.y).mean() for p in on_test)
    yield f"A run of {run.state['budget']:.0f} s, seed {run.state['seed']}, {len(keys)} models, {len(y)} validation "
    yield f"and {len(test.y)} test rows; the best single model is right in {100 * best_single:.2f} % of them. Mean and"
    yield f"standard deviation over {DRAWS} draws of so many validation rows; test accuracy, %, and log loss."
    yield ""
    yield "| chosen by | " + " | ".join(f"{n} rows" for n in sizes) + " |"
    yield "|---|" + "---:|" * len(sizes)
    for name, way in WAYS.items():
        cells = [cell(way, on_valid, y, on_test, test.y, n) for n in sizes]
        yield f"| {name} | " + " | ".join(cells) + " |"


def cell(way: tuple[bool, Choose], on_valid: Array, y: Array, on_test: Array, y_test: Array, n: int) -> str:
    """Choose on `n` rows, several times; count on the test rows."""
    generator, accuracies, losses = np.random.default_rng(0), [], []
    for _ in range(1 if n == len(y) else DRAWS):
        rows = generator.choice(len(y), n, replace=False)
        mean = chosen(way, on_valid[:, rows], y[rows], on_test)
        accuracies.append(100 * float((mean.argmax(axis=1) == y_test).mean()))
        losses.append(log_loss(mean, y_test))
    return f"{np.mean(accuracies):.2f} ± {np.std(accuracies):.2f}, {np.mean(losses):.3f}"


def chosen(way: tuple[bool, Choose], on_valid: Array, y: Array, on_test: Array) -> Array:
    """Give the probabilities of the test rows of the ensemble that is chosen on these validation rows."""
    calibrated, choose = way
    if calibrated:
        temperatures = [fit_temperature(member, y) for member in on_valid]
        on_valid = np.stack([with_temperature(m, t) for m, t in zip(on_valid, temperatures, strict=True)])
        on_test = np.stack([with_temperature(m, t) for m, t in zip(on_test, temperatures, strict=True)])
    mean = weighted_mean(on_test, choose(on_valid, y))
    on_validation = weighted_mean(on_valid, choose(on_valid, y))
    return with_temperature(mean, fit_temperature(on_validation, y))


if __name__ == "__main__":
    main()
