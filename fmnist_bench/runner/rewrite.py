"""The report of a finished run, written again from the store alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import write_text
from fmnist_bench.data.dataset import Dataset
from fmnist_bench.runner.arguments import prefixes
from fmnist_bench.storage.find_runs import newest_run, open_folder

if TYPE_CHECKING:
    from fmnist_bench.report.findings import Findings


def rewrite_report(
    name: str | Path,
    mlruns: str | Path = "mlruns",
    allow_import: Sequence[str] = (),
    markdown: str | Path | None = None,
    test: Dataset | None = None,
) -> Findings:
    """Write the report of a run again, from the store alone.

    Parameters
    ----------
    name : str or Path
        As `newest_run` takes it.
    mlruns : str or Path
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.
    markdown : str, Path or None
        Where to write the Markdown report as well.
    test : Dataset or None
        Test rows for a run that has none of its own; they are opened once, and cannot be exchanged for others.
    """
    from fmnist_bench.report.gather import report_files, write_report
    from fmnist_bench.report.mlflow_notes import renew
    from fmnist_bench.report.opening import open_test_set

    if markdown is not None and (Path(markdown).is_dir() or not Path(markdown).absolute().parent.is_dir()):
        raise InputError(f"{markdown}: there is no such folder; name a file in an existing one")
    with open_folder(newest_run(name, mlruns)) as run:
        if "environment" not in run.state:
            again = f"python -m fmnist_bench run {run.state['benchmark']} continues it"
            raise InputError(f"{run.folder}: this run is not finished; {again}")
        if test is None and run.state.get("handed_over"):
            raise InputError(f"{run.folder}: its test rows were arrays; AutoClassifier.report takes them again")
        with open_test_set(run, prefixes(allow_import), test=test) as opened:
            findings = write_report(run, opened, run.state["environment"])
        renew(run, report_files(run))
    if markdown is not None:
        write_text(Path(markdown), (run.folder / "report.md").read_text(encoding="utf-8"))
    return findings
