"""What `run all` reaches in so many minutes: whole runs, one a seed.

    python -m fmnist_bench run all --budget 10m --seed 1000 --mlruns mlruns-10m-1000     (and so on)
    python benchmarks/whole_runs/all.py mlruns-10m-*

Takes the newest run of `all` below each folder, as MLflow holds it. Each call adds to what all.json beside this file
holds, where a run takes the place of one with the same budget, processor, seed and revision, and writes it to all.md.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mlflow import MlflowClient

from fmnist_bench._utils.files import write_text
from fmnist_bench.storage.run_folder import Run, Store

KEPT = Path(__file__).resolve().with_suffix(".json")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mlruns", nargs="+", type=Path, metavar="DIR", help="folders of results")
    options = parser.parse_args()
    found = {_key(row): row for row in (json.loads(KEPT.read_text()) if KEPT.exists() else [])}
    for folder in options.mlruns:
        row = read(Store(folder).latest_run("all"))
        found[_key(row)] = row
    rows = [found[key] for key in sorted(found)]
    write_text(KEPT, json.dumps(rows, indent=1) + "\n")
    write_text(KEPT.with_suffix(".md"), "\n".join(report(rows)) + "\n")


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["budget"], row["processor"], row["seed"], row["revision"]


def _code(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["budget"], row["processor"], row["revision"]


def read(run: Run) -> dict[str, Any]:
    """What one run came to; accuracies in %."""
    state, client = run.state, MlflowClient(run.store.tracking_uri)
    if "environment" not in state or state["data"] != "fashion-mnist":
        raise SystemExit(f"{run.folder}: must be a run on Fashion-MNIST that came to its end")
    metrics = client.get_run(state["mlflow_run"]).data.metrics
    studies = {study: client.get_run(number).data.metrics for study, number in state["studies"].items() if number}
    single = max(
        (found for found in studies.values() if "test_accuracy" in found), key=lambda found: found["valid_accuracy"]
    )
    return {
        "budget": state["budget"],
        "seed": state["seed"],
        "seconds": round(state["seconds"]),
        "accuracy": round(100 * metrics["test_accuracy"], 2),
        "interval": [round(100 * metrics[key], 2) for key in ("test_low", "test_high")],
        "single": round(100 * single["test_accuracy"], 2),
        "log_loss": round(metrics["test_log_loss"], 4),
        "calibration_error": round(100 * metrics["test_calibration_error"], 2),
        **{key: state["environment"][key] for key in ("processor", "revision")},
    }


def report(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Write the page."""
    yield from (
        "# What a budget buys",
        "",
        "`run all` on Fashion-MNIST, 10,000 test rows; each row below is a run of its own.",
        "",
    )
    yield "| Budget, minutes | Processor | Revision | n | Ensemble, test accuracy, % | Best single model, % |"
    yield "| ---: | --- | --- | ---: | ---: | ---: |"
    for of in sorted({_code(row) for row in rows}):
        alike = [row for row in rows if _code(row) == of]
        spreads = " | ".join(_spread([row[key] for row in alike]) for key in ("accuracy", "single"))
        budget, processor, revision = of
        yield f"| {budget / 60:g} | {processor} | {revision} | {len(alike)} | {spreads} |"
    yield ""
    yield "Median (lowest to highest). The best single model is the best by validation rows. Runs of several revisions"
    yield from ("are no repetitions: the code differed.", "")
    yield "| Minutes | Seed | Used, s | Test accuracy, % | 95 % interval | Log loss | Calibration error, % | Revision |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for row in rows:
        low, high = row["interval"]
        cells = (row["seed"], row["seconds"], f"{row['accuracy']:.2f}", f"{low:.2f} to {high:.2f}")
        more = (f"{row['log_loss']:.4f}", f"{row['calibration_error']:.2f}", row["revision"])
        yield f"| {row['budget'] / 60:g} | {' | '.join(map(str, (*cells, *more)))} |"
    yield from ("", "`python benchmarks/whole_runs/all.py`, with the folders of these runs")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
