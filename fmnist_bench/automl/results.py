"""What a run knows, as tables and figures; a reader, which writes nothing to the run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmnist_bench._utils.errors import InputError, nearest, one_line
from fmnist_bench.progress.notebook_table import show_figures
from fmnist_bench.report.contestant import Contestant
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.gather import gather
from fmnist_bench.report.opening import Opened
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.journal import read_studies
from fmnist_bench.storage.results import ROW_STATUSES
from fmnist_bench.storage.run_folder import STATE, Run, read_split
from fmnist_bench.storage.trial import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENSEMBLE = "ensemble"


def load_run(name: str | Path, mlruns: str | Path = "mlruns") -> RunResults:
    """Open what a run has left: one that has ended, one that was killed, one whose folder was moved or copied.

    Parameters
    ----------
    name : str or Path
        Folder of a run, its name below `mlruns`, a folder of results, or a benchmark; of several the newest is taken.
    mlruns : str or Path

    Raises
    ------
    InputError
        Where there is no run, or its files are damaged.
    """
    return RunResults(newest_run(name, mlruns))


class RunResults:
    """What a run knows, by what lies on disk now; test rows are never opened for it.

    Scores, confusions and figures are of the validation rows, which chose the models and so flatter. The leaderboard
    has the test scores that the report has counted, where it has.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home: Any = None  # what a temporary folder around it goes with

    def leaderboard(self) -> pd.DataFrame:
        """Give the ensemble, then the best trial of each study, by validation accuracy.

        Returns
        -------
        DataFrame
            Index `name`; `trial`; `learnt_from`, as a share of the train rows; `valid_accuracy`,
            its 95 % interval `valid_low` and `valid_high`, `valid_log_loss`, `valid_calibration_error`; the same of
            the test rows, where they were opened; `fit_seconds`,
            `predict_ms` a row, `search_seconds`; and how many trials there are of each state. NaN without a score.
        """
        return leaderboard_of(self._findings(), self._run().state.get("test_scores"))

    def trials(self) -> pd.DataFrame:
        """Give every trial that has ended, one a row, in the order in which they ended.

        Returns
        -------
        DataFrame
            `study`, `trial`; `parameters` and `fidelity`, mappings of scikit-learn names for ``set_params``; `rung`,
            `phase`; `state` and `reason`; `seconds` from start to end, `ended` seconds since the run began;
            `valid_accuracy`, `valid_log_loss`, NaN without a score.
        """
        run = self._run()
        records = [record for study in run.state["studies"] for record in run.records(study)]
        records.sort(key=lambda record: record.ended)
        columns = ["study", "trial", "parameters", "fidelity", "rung", "phase", "state", "reason", "seconds", "ended"]
        columns += ["valid_accuracy", "valid_log_loss"]
        table = pd.DataFrame([dict(zip(columns, _facts(r), strict=True)) for r in records], columns=columns)
        return table.astype({"valid_accuracy": float, "valid_log_loss": float})

    def predictions(self, study: str, trial: int | None = None) -> pd.DataFrame:
        """Give what a model predicts for the validation rows.

        Parameters
        ----------
        study : str
            Name of a study, or ``"ensemble"``.
        trial : int or None
            Number of a complete trial; None takes the best of the study.

        Returns
        -------
        DataFrame
            Index `row`, the number among the rows of `fit`; `label`, `predicted`, and the probability of each class
            in a column that is called by its label.
        """
        run = self._run()
        with _damage_told(self.folder):
            probabilities = self._probabilities(run, study, trial)
            classes = _classes(run, probabilities.shape[1])
            index = pd.Index(read_split(run.folder, "validation"), name="row")
            table = pd.DataFrame(probabilities, index, pd.Index(classes))
            table.insert(0, "label", classes[run.y_valid()])
            table.insert(1, "predicted", classes[probabilities.argmax(axis=1)])
        return table

    def confusion_matrix(self, name: str = ENSEMBLE) -> pd.DataFrame:
        """Count validation rows by label (down) and by what the ensemble, or the best trial of a study, predicts."""
        found = self.predictions(name)
        classes = found.columns[2:]
        counts = pd.crosstab(found["label"], found["predicted"])
        return (
            counts.reindex(index=classes, columns=classes, fill_value=0)
            .rename_axis("label")
            .rename_axis("predicted", axis=1)
        )

    def learning_curves(self) -> pd.DataFrame:
        """Give the learning curves of all trials, a row a step: `study`, `trial`, `step`, and what was measured."""
        run, tables = self._run(), []
        for study in run.state["studies"]:
            for record in run.records(study):
                if history := {name: pd.Series(values) for name, values in record.result.history.items() if values}:
                    table = pd.DataFrame(history)
                    steps = table.pop("step") if "step" in table else pd.Series(range(1, len(table) + 1))
                    table.insert(0, "study", study)
                    table.insert(1, "trial", record.number)
                    table.insert(2, "step", steps)
                    tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["study", "trial", "step"])

    def optuna_study(self, name: str) -> Any:
        """Copy a study of Optuna's journal into memory, an `optuna.Study` for Optuna's own plots and importances.

        Raises
        ------
        InputError
            Where Optuna has no study of that name: it may be one that KerasTuner searches.
        """
        found = read_studies(self._run().journal)
        if name not in found:
            raise InputError(
                f"{self.folder}: Optuna knows no study {name!r}{nearest(name, list(found))}; {_few(found)}"
            )
        return found[name]

    def figures(self) -> dict[str, Figure]:
        """Draw the figures of the report by validation rows, by their names; those that there are data for."""
        from fmnist_bench.report.draw import draw, draw_alone

        show_figures()
        findings = self._findings()
        return {**draw(findings), **draw_alone(findings)}

    def as_text(self, form: str) -> str:
        """Give the report as ``html`` or ``md``, where one was written; or the leaderboard as ``csv`` or ``latex``.

        Raises
        ------
        InputError
            Where there is no report yet.
        """
        if form in ("html", "md"):
            if not (path := self.folder / f"report.{form}").is_file():
                raise InputError(f"{path}: no report was written; the run has not ended")
            return path.read_text(encoding="utf-8")
        board = self.leaderboard()
        return str(board.to_csv() if form == "csv" else board.to_latex(float_format="%.4g", na_rep="", escape=True))

    def model_file(self, study: str, trial: int) -> Path:
        """Give the file of a trial's model for `load_model`; those of the best trials of each study are kept."""
        return self._run().model_file(study, trial)

    def __repr__(self) -> str:
        return f"<RunResults of {self.folder}>"

    def _repr_html_(self) -> str:
        """Show the leaderboard, as Jupyter does."""
        from html import escape

        run = self._run()
        rows = "test rows" if run.state.get("test_scores") else "validation rows, which flatter"
        head = f"<p><b>{escape(run.state['benchmark'])}</b>, {escape(str(self.folder))}. Scores are of {rows}.</p>"
        return head + str(self.leaderboard().to_html(float_format="{:.4g}".format, na_rep="", border=0))

    def _run(self) -> Run:
        if not (self.folder / STATE).is_file():
            raise InputError(f"{self.folder}: the run is gone; where it was moved, load_run(FOLDER) opens it there")
        return open_folder(self.folder)

    def _findings(self) -> Findings:
        run = self._run()
        with _damage_told(self.folder):
            return gather(run, Opened(None, {}), run.state.get("environment", {}))

    def _probabilities(self, run: Run, name: str, trial: int | None) -> np.ndarray[Any, Any]:
        if trial is not None:
            record = run.record(name, trial)
            if record is None or not record.is_complete:
                raise InputError(f"{self.folder}: {name} has no complete trial {trial}")
            return run.valid_probabilities(name, trial)
        known = {who.name: who for who in self._findings().everyone if who.scored}
        if name not in known:
            raise InputError(f"{self.folder}: no model {name!r}{nearest(name, list(known))}; {_few(known)}")
        return known[name].valid_probabilities


@contextlib.contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """Make one line of what reading files that are missing, or not as a run wrote them, raises."""
    try:
        yield
    except InputError:
        raise
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: a file of the run is missing or damaged: {one_line(error)}") from error


def leaderboard_of(findings: Findings, tested: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Tabulate findings as `RunResults.leaderboard` does; `tested` are test scores that an earlier report counted."""
    rows = [_leader(findings, who, (tested or {}).get(who.name, {})) for who in findings.everyone]
    columns = [*dict.fromkeys(key for row in rows for key in row)] or ["name"]
    table = pd.DataFrame(rows, columns=columns).set_index("name")
    return table.astype({"trial": "Int64"}) if "trial" in table else table


def _leader(findings: Findings, who: Contestant, tested: Mapping[str, float]) -> dict[str, Any]:
    row = {**findings.scores(who), **tested}
    scores = {name: value for name, value in row.items() if name.startswith(("valid_", "test_"))}
    costs = {name: row[name] for name in ("fit_seconds", "predict_ms", "search_seconds")}
    share = None if who.trial is None else who.learnt_from
    return {
        "name": who.name,
        "trial": who.trial,
        "learnt_from": share,
        **scores,
        **costs,
        **{state: row[state] for state in ROW_STATUSES},
    }


def _facts(trial: Trial) -> tuple[Any, ...]:
    place = trial.study, trial.number, dict(trial.parameters), dict(trial.fidelity), trial.rung, trial.phase
    scores = trial.result.accuracy, trial.result.log_loss
    return *place, trial.status, trial.reason, trial.seconds, trial.ended, *scores


def _classes(run: Run, n: int) -> np.ndarray[Any, Any]:
    return np.array(run.state.get("classes", range(n)))


def _few(names: Mapping[str, Any]) -> str:
    return f"there are {', '.join(names)}" if names else "there is none"
