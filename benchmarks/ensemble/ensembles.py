"""Ways to make one prediction of many: plain mean, greedy selection, logistic stack, beside the best single model.

    python -m fmnist_bench run all --seed 0 --mlruns mlruns-0       (and so on, one run a seed)
    python benchmarks/ensemble/ensembles.py mlruns-0 mlruns-1000 mlruns-2000

Takes the newest run of `all` below each folder, with the best trials of every study that it kept. Each method learns
from the validation rows alone, temperature included; the test rows are then counted once. Writes ensembles.md beside
itself.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import cores, machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.ensemble.selection import METHODS, fit_temperature, learn_combination, with_temperature
from fmnist_bench.report.metrics import expected_calibration_error, log_loss, mcnemar
from fmnist_bench.report.opening import open_test_rows, predict_test
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import best

KEPT = 3  # of the best trials of each study, as the shipped benchmark keeps them
SINGLE = "best single model"


@dataclass(frozen=True)
class Score:
    """How one method did in one run."""

    accuracy: float
    log_loss: float
    uncalibrated: float
    calibration: float
    gain: float
    p_value: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mlruns", nargs="+", type=Path, metavar="DIR", help="folders of results")
    options = parser.parse_args()
    scores: dict[str, list[Score]] = {}
    runs = [open_folder(newest_run("all", folder)) for folder in options.mlruns]
    settings = [{key: run.state[key] for key in ("data", "budget", "seed")} for run in runs]
    check(settings)
    for folder, run in zip(options.mlruns, runs, strict=True):
        with run:
            for method, score in compare(run).items():
                scores.setdefault(method, []).append(score)
                print(folder, method, score, flush=True)
    lines = report(scores, settings)
    write_text(Path(__file__).with_suffix(".md"), "\n".join(lines) + "\n")


def check(settings: list[dict[str, Any]]) -> None:
    """Refuse runs that do not belong on one page."""
    if len({(row["data"], row["budget"]) for row in settings}) > 1 or settings[0]["budget"] is None:
        raise SystemExit(f"must be runs on the same data with the same budget: {settings}")
    if len({row["seed"] for row in settings}) < len(settings):
        raise SystemExit(f"two runs have the same seed: {settings}")


def compare(run: Run) -> dict[str, Score]:
    """Learn by every method from a run's validation rows; score on the test rows."""
    records = [record for study in run.state["studies"] for record in best(run.records(study), KEPT)]
    test = open_test_rows(run)
    predicted, _ = predict_test(run, [(r.study, r.number) for r in records], test, ())
    on_valid = np.stack([run.valid_probabilities(r.study, r.number) for r in records])
    on_test = np.stack([predicted[r.study, r.number] for r in records])
    y_valid = run.y_valid()
    single = int(np.argmax([record.result.accuracy or 0.0 for record in records]))
    scaled = with_temperature(on_test[single], fit_temperature(on_valid[single], y_valid))
    found = {SINGLE: (on_test[single].astype(float), scaled)}
    for method in METHODS:
        raw = learn_combination(on_valid, y_valid, method, calibrate=False)
        found[method] = raw.apply(on_test), learn_combination(on_valid, y_valid, method).apply(on_test)
    return {method: _score(*pair, on_test[single], test.y) for method, pair in found.items()}


def _score(
    raw: NDArray[np.float64], cool: NDArray[np.float64], single: NDArray[np.float32], y: NDArray[np.int64]
) -> Score:
    pair = mcnemar(y, cool.argmax(axis=1), single.argmax(axis=1))
    errors = [expected_calibration_error(p, y) for p in (raw, cool)]
    return Score(float((cool.argmax(axis=1) == y).mean()), log_loss(cool, y), *errors, pair.difference, pair.p_value)


def report(scores: dict[str, list[Score]], settings: list[dict[str, Any]]) -> Iterator[str]:
    """Write the page."""
    minutes, seeds = settings[0]["budget"] / 60, ", ".join(str(row["seed"]) for row in settings)
    yield from ("# Ways to make one prediction of many", "")
    yield f"Test rows of {len(settings)} runs of `all` on {settings[0]['data']}, {minutes:g} minutes each,"
    yield f"seeds {seeds}: median (lowest to highest)."
    yield "McNemar's test is against the best single model of the same run."
    yield from ("", "| Method | Accuracy, % | Log loss | Calibration error, % | without temperature | McNemar's p |")
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for method, rows in scores.items():
        p = "–" if method == SINGLE else ", ".join(f"{row.p_value:.2g}" for row in rows)
        cells = [
            _spread([100 * row.accuracy for row in rows], 2),
            _spread([row.log_loss for row in rows], 4),
            _spread([100 * row.calibration for row in rows], 2),
            _spread([100 * row.uncalibrated for row in rows], 2),
        ]
        yield f"| {method} | {' | '.join(cells)} | {p} |"
    yield from ("", f"`python benchmarks/ensemble/ensembles.py {' '.join(sys.argv[1:])}`", "")
    yield from (f"- {key}: {value}" for key, value in {**machine(), "cores used": cores()}.items())


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
