"""Rows a second of a run's ensemble, of the best single model and of each member.

    python benchmarks/ensemble/predict.py mlruns                  the newest run of `all` below it

Training rows are predicted: the speed does not depend on which, and the test rows stay closed. Prints Markdown.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import cores, machine
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.estimator import BATCH
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.models.saved import load_model
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mlruns", type=Path, metavar="DIR", help="folder of results")
    parser.add_argument("--name", default="all", help="benchmark (default: all)")
    parser.add_argument("--rows", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--repeat", type=int, default=3, help="times each is measured; the median counts (default: 3)")
    options = parser.parse_args()
    run = open_folder(newest_run(options.name, options.mlruns))
    X = load_dataset(run.state["data"], path=run.state["data_path"]).X[: options.rows]
    print("\n".join(report(run, X, options.repeat)))


def report(run: Run, X: NDArray[np.uint8], repeat: int) -> Iterator[str]:
    """Measure, and write a page."""
    loaded, ensemble = _timed(lambda: load_ensemble(run.ensemble_folder))
    first, _ = _timed(lambda: ensemble.predict_proba(X[:1]))
    # The ensemble first and alone: what it is compared with must not have warmed anything for it.
    beside = _median(ensemble.predict_proba, X, repeat)
    alone = _median(ensemble.set_params(n_jobs=None).predict_proba, X, repeat)
    members = {name: _median(member.predict_proba, X, repeat) for name, member in ensemble.members_}
    bare, fastest = sum(members.values()), min(members, key=members.__getitem__)
    single, seconds = _best_single(run, X, repeat)
    yield from (
        "# How fast the ensemble predicts",
        "",
        f"{len(X):,} rows, median of {repeat}, in batches of {BATCH:,}.",
        "",
    )
    yield from ("| | seconds | rows a second |", "| --- | ---: | ---: |")
    yield _row("ensemble, members side by side", beside, len(X))
    yield _row("ensemble, one member at a time", alone, len(X))
    yield _row(f"best single model ({single})", seconds, len(X))
    yield _row(f"fastest member ({fastest})", members[fastest], len(X))
    yield from (_row(f"member {name}", value, len(X)) for name, value in members.items())
    yield from (
        "",
        f"Members alone take {bare:.2f} s in all; the ensemble takes {beside / bare:.2f} times that side by",
    )
    yield f"side, {alone / bare:.2f} times one at a time."
    yield f"Loaded in {loaded:.1f} s, first answer after {first:.2f} s more."
    yield from ("", f"`{' '.join(['python', *sys.argv])}`", "")
    yield from (f"- {key}: {value}" for key, value in {**machine(), "cores used": cores()}.items())


def _best_single(run: Run, X: NDArray[np.uint8], repeat: int) -> tuple[str, float]:
    """Time the model that is the most accurate on the validation rows, a member or not."""
    records = [record for study in run.state["studies"] for record in best(run.records(study), 1)]
    record = max(records, key=lambda record: record.result.accuracy or 0.0)
    model = load_model(run.model_file(record.study, record.number))
    return f"{record.study}-{record.number}", _median(model.predict_proba, X, repeat)


def _median(predict: Callable[[Any], Any], X: NDArray[np.uint8], repeat: int) -> float:
    def whole() -> None:
        for start in range(0, len(X), BATCH):
            predict(X[start : start + BATCH])

    whole()  # the first time compiles
    return statistics.median(_timed(whole)[0] for _ in range(repeat))


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    answer = call()
    return time.perf_counter() - started, answer


def _row(name: str, seconds: float, rows: int) -> str:
    return f"| {name} | {seconds:.3f} | {rows / seconds:,.0f} |"


if __name__ == "__main__":
    main()
