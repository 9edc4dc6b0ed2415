"""How long a file and the ensemble that it was made of take: both in one process, on one core and on all."""

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.environment import allowed_cores
from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.export.agreement import session
from fmnist_bench.export.members import without
from fmnist_bench.trials.job import take_cores
from fmnist_bench.trials.process import answer_of_worker
from fmnist_bench.trials.questions import answer_over

BATCHES = 1, 100, 1000  # rows that are predicted at a time
CALLS, SECONDS = 5, 0.3  # at least so many calls, for at least so long
LIMIT = 900.0  # seconds for a process


def latencies(
    folder: Path, file: Path, X: NDArray[np.uint8], drop: Sequence[str] = (), allow_import: Sequence[str] = ()
) -> list[dict[str, float]]:
    """Measure both on one core and on all, for one row and for more at a time.

    Returns
    -------
    list of dict
        ``cores``, ``rows``, and the milliseconds a row that ``onnx`` and the ``original`` take, the median of several
        calls.

    Raises
    ------
    InputError
        Where a process dies.
    """
    every = tuple(allowed_cores())
    found: list[dict[str, float]] = []
    for cores in dict.fromkeys((every[:1], every)):
        answer = answer_of_worker(_measure, (folder, file, X, tuple(drop), tuple(allow_import), cores), LIMIT)
        if isinstance(answer, str):
            raise InputError(f"{file}: its latency was not measured: {answer}")
        found += answer
    return found


def _measure(argument: tuple[Any, ...], connection: Connection) -> None:
    folder, file, X, drop, allow_import, cores = argument

    def measured() -> list[dict[str, float]]:
        take_cores(cores)
        onnx = _of_file(file, X, len(cores))
        ensemble = without(load_ensemble(folder, allow_import), drop)
        pairs = [
            (n, first, _milliseconds(ensemble.predict_proba, X, n)) for n, first in zip(BATCHES, onnx, strict=True)
        ]
        return [{"cores": len(cores), "rows": n, "onnx": first, "original": second} for n, first, second in pairs]

    answer_over(connection, measured)


def _of_file(file: Path, X: NDArray[np.uint8], threads: int) -> list[float]:
    opened = session(str(file), threads)
    images = X.reshape(len(X), *opened.get_inputs()[0].shape[1:])
    return [_milliseconds(lambda rows: opened.run(None, {"X": rows}), images, n) for n in BATCHES]


def _milliseconds(predict: Callable[[Any], Any], X: NDArray[Any], n: int) -> float:
    """Median time for a row, `n` of them at a time; the first call is not counted."""
    rows = np.resize(X, (n, *X.shape[1:]))
    predict(rows)
    times, began = list[float](), time.perf_counter()
    while len(times) < CALLS or time.perf_counter() - began < SECONDS:
        started = time.perf_counter()
        predict(rows)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times)) / n
