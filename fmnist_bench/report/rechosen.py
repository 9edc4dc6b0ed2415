"""What the verb `ensemble` says of an ensemble that was chosen again, and what its test score costs: a count."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.rechoose import Rechosen, check_kept, choose_offline, save_offline
from fmnist_bench.report.contestant import Array
from fmnist_bench.report.metrics import accuracy_interval
from fmnist_bench.report.opening import open_test_rows, openings, predict_test
from fmnist_bench.report.render import as_columns
from fmnist_bench.report.tables import interval, percent
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Run

HOW = {"greedy": "greedy selection", "logistic": "a logistic stack", "mean": "the plain mean"}


def rechoose(
    name: str | Path,
    mlruns: str | Path = "mlruns",
    *,
    method: str = "greedy",
    max_latency: float | None = None,
    studies: Collection[str] = (),
    every_trial: bool = False,
    save: str | Path | None = None,
    open_test: bool = False,
    allow_import: Sequence[str] = (),
) -> str:
    """Choose the ensemble of a run again by its validation rows, and say what it would be.

    Parameters
    ----------
    name : str or Path
        As `newest_run` takes it.
    mlruns : str or Path
    method, max_latency, studies, every_trial
        See `choose_offline`.
    save : str, Path or None
        Folder to save the ensemble in; None writes nothing.
    open_test : bool
        Score it on the test rows, which the run's record counts.
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.

    Returns
    -------
    str
        Lines for a terminal.
    """
    run = open_folder(newest_run(name, mlruns))
    found = choose_offline(run, method, max_latency, studies, every_trial)
    lines = list(describe(run, found))
    if save is not None:
        save_offline(run, found, save, allow_import)
        lines.append(f'saved: fmnist_bench.load_ensemble("{save}")')
    lines += _opened(run.folder, found, allow_import) if open_test else [_not_opened(run)]
    return "\n".join(lines)


def describe(run: Run, found: Rechosen) -> Iterator[str]:
    """Say what was chosen, with what weights, and what it scores on validation rows."""
    yield f"{run.folder.name}: {len(found.members)} of {found.n_offered} trials, by {HOW[found.method]}"
    rows = []
    for i in np.argsort(-found.combination.weights, kind="stable"):
        record, weight = found.members[i], f"{found.combination.weights[i]:.3f}"
        row = {"study": record.study, "trial": str(record.number), "weight": weight}
        rows.append(row | {"valid %": percent(record.accuracy).text, "ms a row": f"{found.costs[i]:.3f}"})
    yield as_columns(rows)
    yield f"together: {found.costs.sum():.3f} ms a row"
    yield f"validation rows that it was chosen on: {_share(found.right)}"
    yield f"the same, each fifth left out of the choice: {_share(found.right_left_out)}"
    if (latency := run.state.get("latency")) and run.state.get("members"):
        ms, accuracy = latency["ensemble"]
        yield f"the run's own ensemble, rows that it was chosen on: {percent(accuracy).text} %, {ms:.3f} ms a row"


def _share(right: Array) -> str:
    low, high = accuracy_interval(int(right.sum()), len(right))
    return f"{percent(right.mean()).text} % ({interval(low, high).text})"


def _not_opened(run: Run) -> str:
    return f"test rows: not opened now, {_times(openings(run))} before; --open-test-set shows the score, and is counted"


def _opened(folder: Path, found: Rechosen, allow_import: Sequence[str]) -> list[str]:
    """Score it on the test rows, and count that in the run's record."""
    with open_folder(folder) as run:
        check_kept(run, found)
        test = open_test_rows(run)
        predicted, faults = predict_test(run, found.keys, test, allow_import)
    for (study, number), reason in faults.items():
        raise InputError(f"{study} trial {number}: {reason}")
    combined = found.combination.apply(np.stack([predicted[key] for key in found.keys]))
    return [
        f"test rows: {_share(combined.argmax(axis=1) == test.y)}",
        f"they have been opened {_times(openings(run))} for this run; a choice among such scores would flatter",
    ]


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
