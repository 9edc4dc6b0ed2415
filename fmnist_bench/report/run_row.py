"""One run as a row of a leaderboard over runs: read from its folder, or from a CSV file of rows read earlier."""

import contextlib
import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from fmnist_bench._utils.errors import InputError, printable
from fmnist_bench.report.contestant import Array
from fmnist_bench.report.kept_scores import right_rows
from fmnist_bench.storage.run_folder import STATE, read_split, read_state
from fmnist_bench.storage.trial import RECORD, read_record

SCORED, EMPTY = "reported", "no complete trial"
NOT_REPORTED, NOT_FINISHED, UNTESTED, DAMAGED = "not reported", "not finished", "no test rows", "damaged"
ADDED = ("rows",)  # columns that tables of earlier versions lack
SHARES = ("accuracy", "low", "high")
STATUSES = (SCORED, EMPTY, NOT_REPORTED, NOT_FINISHED, UNTESTED, DAMAGED)


def task_of(data: str, rows: int | None) -> str:
    """Name a task by its data and its number of train and validation rows, such as ``fashion-mnist, 6,000 rows``."""
    return data if rows is None else f"{data}, {rows:,} rows"


@dataclass(frozen=True)
class RunRow:
    """What a run was given and what it came to; all that is missing is None or empty.

    Attributes
    ----------
    run : str
        Name of its folder.
    status : str
        One of `STATUSES`.
    benchmark, data : str
    budget : float or None
        Seconds.
    trials : int or None
        Of each study, where they were counted.
    seconds : float or None
        That were used.
    seed : int or None
    machine : str
        Processor, its fastest instructions or the limit set to them, cores; GPU.
    revision : str
    core_hours : float or None
        Processor time that the trainings of all trials took, in hours.
    test_rows : int or None
    accuracy, low, high, log_loss, calibration_error : float or None
        Of the ensemble on the test rows, with the 95 % interval of its accuracy.
    single : str
        Study of the best single model by validation rows.
    single_accuracy, single_low, single_high : float or None
        Of that model on the test rows.
    began : str
        In UTC.
    settings : str
        Digest of everything that a search depends on but seed, budget and number of trials.
    test_fingerprint : str
    rows : int or None
        Train and validation rows.
    """

    run: str
    status: str
    benchmark: str = ""
    data: str = ""
    budget: float | None = None
    trials: int | None = None
    seconds: float | None = None
    seed: int | None = None
    machine: str = ""
    revision: str = ""
    core_hours: float | None = None
    test_rows: int | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    log_loss: float | None = None
    calibration_error: float | None = None
    single: str = ""
    single_accuracy: float | None = None
    single_low: float | None = None
    single_high: float | None = None
    began: str = ""
    settings: str = ""
    test_fingerprint: str = ""
    rows: int | None = None


def read_run(folder: Path) -> RunRow:
    """Read what a run left in its folder; nothing is changed there, and no test row is opened."""
    try:
        state = read_state(folder / STATE)
        return RunRow(**_given(folder, state), **_reached(state))
    except (InputError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return RunRow(printable(folder.name), DAMAGED)


def _given(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """What a run was given, and what it used."""
    machine = {**state.get("environment", {}), **state.get("machine", {})}
    return {
        "run": folder.name,
        "benchmark": state["benchmark"],
        "data": Path(str(state.get("data", ""))).name,
        "budget": _number(state.get("budget")),
        "trials": state.get("trials"),
        "seconds": _number(state["seconds"]),
        "seed": state.get("seed"),
        "machine": ", ".join(filter(None, (machine.get("processor"), machine.get("GPU")))),
        "revision": str(machine.get("revision", "")),
        "core_hours": _core_seconds(folder) / 3600,
        "began": f"{datetime.fromtimestamp(state['created'], UTC):%Y-%m-%d %H:%M:%S}",
        "settings": str(state.get("settings", "")),
        "rows": _n_rows(folder),
    }


def _n_rows(folder: Path) -> int | None:
    """Give the number of train and validation rows, where the split can be read."""
    with contextlib.suppress(InputError):
        return sum(len(read_split(folder, part)) for part in ("train", "validation"))
    return None


def _core_seconds(folder: Path) -> float:
    records = (read_record(path.parent) for path in folder.glob(f"trials/*/*/{RECORD}"))
    return sum(record.result.fit_cpu_seconds for record in records if record is not None)


def _reached(state: dict[str, Any]) -> dict[str, Any]:
    """What a run came to, or why there is nothing."""
    if not (scores := state.get("scores")):
        ended = UNTESTED if state.get("in_memory") else NOT_REPORTED
        return {"status": ended if "environment" in state else NOT_FINISHED}
    about = {"test_rows": int(scores["rows"]), "test_fingerprint": str(scores["fingerprint"])}
    if not (ensemble := scores["ensemble"]):
        return {"status": EMPTY, **about}
    single = scores["single"]
    return {
        "status": SCORED,
        **about,
        **{name: _number(ensemble[f"test_{name}"]) for name in ("accuracy", "low", "high", "log_loss")},
        "calibration_error": _number(ensemble["test_calibration_error"]),
        "single": str(single["name"]),
        **{f"single_{name}": _number(single[f"test_{name}"]) for name in ("accuracy", "low", "high")},
    }


def _number(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is None or math.isfinite(number) else None


def read_right(folder: Path) -> Array | None:
    """Read for which test rows the ensemble of a run found the label; None where that was not kept."""
    try:
        scores = read_state(folder / STATE)["scores"]
        return right_rows(scores["ensemble"]["right"], int(scores["rows"]))
    except (InputError, KeyError, TypeError, ValueError):
        return None


def write_rows(rows: Sequence[RunRow]) -> str:
    """Write rows as CSV: a column an attribute of `RunRow`, accuracies from 0 to 1, times in seconds."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(RunRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue()


def read_rows(path: Path) -> list[RunRow]:
    """Read a CSV file that `write_rows` wrote, such as of runs whose folders are gone.

    Raises
    ------
    InputError
        Where it is not one: the message names the first line and value that cannot be read.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True)
        return list(_parsed(path, reader))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error


def _parsed(path: Path, reader: "csv.DictReader[str]") -> Iterator[RunRow]:
    hints, names = get_type_hints(RunRow), reader.fieldnames or ()
    if missing := [name for name in hints if name not in (*names, *ADDED)]:
        raise InputError(f"{path}: has no column {missing[0]}; compare --csv writes files that can be compared again")
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        values = {name: _value(f"{where}: {name}", row.get(name) or "", hint) for name, hint in hints.items()}
        if values["status"] not in STATUSES:
            raise InputError(f"{where}: status {values['status']!r}: must be one of {', '.join(STATUSES)}")
        yield RunRow(**values)


def _value(where: str, text: str, hint: Any) -> Any:
    if hint is str:
        return printable(text)
    if not text:
        return None
    try:
        number = int(text) if hint == int | None else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where} {printable(text)!r}: must be a number, or empty")
    if where.rpartition("_")[2].rpartition(" ")[2] in SHARES and not 0 <= number <= 1:
        raise InputError(f"{where} {number:g}: must be a share, from 0 to 1")
    return number
