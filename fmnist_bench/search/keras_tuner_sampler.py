"""Asks an oracle of KerasTuner for parameters, instead of Optuna."""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import write_text
from fmnist_bench._utils.intact import parsed, put_aside
from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.study import Study
from fmnist_bench.search._keras_tuner_space import decode, encode, hyperparameters, keras_tuner
from fmnist_bench.search.optuna_sampler import DRAWS, STARTUP_TRIALS
from fmnist_bench.search.sampler import Sampler, agree
from fmnist_bench.search.successive_halving import SuccessiveHalving
from fmnist_bench.storage.results import NOT_BEGUN, PREPARATION, TrialResult
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import Trial

OracleTrial = keras_tuner.engine.trial.Trial
OBJECTIVE = "valid_accuracy"
MANY = 1_000_000  # trials, failures in a row, rounds of Hyperband: the budget ends a search, not the oracle
LAST = 1_000_000  # step of the final score, after every score of a trial that is training


class KerasTunerSampler(Sampler):
    """An oracle of KerasTuner: Hyperband or Bayesian optimisation.

    What it knows lies beside the run as JSON, written under a temporary name and renamed: a process that is killed
    loses at most the question that it was asking. Where the file is damaged, or does not agree with the records of the
    trials, the questions are taken from these; Bayesian search learns of them as of default configurations, and
    Hyperband begins its brackets again.

    Hyperband chooses the rungs itself. Its resource counts the rungs of the study, `factor` to the power
    of the rung, with the mean step between two of them as `factor`; `[fidelity]` says what a rung is, epochs or rows.
    As in the source every trial trains from scratch and to the end of its own schedule: no weights are carried from
    one rung to the next, unlike in KerasTuner's own loop. When all brackets have ended it begins again.

    Bayesian search asks for the first rung, and the better configurations are promoted as with Optuna.
    The Gaussian process learns of what ended on the rung on which it asks, default configurations included; scores of
    other rungs do not compare with these. It takes over after as many random trials as TPE does: KerasTuner's own
    three for each dimension would use up most of a search.

    Raises
    ------
    InputError
        Where Hyperband has no rungs.

    References
    ----------
    Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization" (2018).
    """

    def __init__(self, study: Study, run: Run, seed: int) -> None:
        self._study, self._run, self._ranges = study.name, run, study.ranges()
        self._rungs: dict[int, int] = {}  # by Hyperband's number of epochs
        self._asked: list[Trial] = []  # without their times and learning curves
        self._names: dict[int, str] = {}  # in the oracle, by the number of the trial; of those that it asked or knows
        self._file = run.oracle_file(study.name)
        self._file.parent.mkdir(exist_ok=True)
        self._oracle = self._make_oracle(study, seed)
        self.chooses_rungs = bool(self._rungs)
        records = {record.number: record for record in run.records(study.name)}
        if not self._load() or not agree(self._asked, records.values()):
            self._oracle = self._make_oracle(study, seed)  # without what was read before it became clear
            self._begin_from(records)

    def ask(self, halving: SuccessiveHalving, rung: int) -> Trial | None:
        """Ask; what was tried already the oracle is told from memory."""
        if not self.chooses_rungs:
            self._teach(rung)
        for draw in range(DRAWS):
            drawn = self._draw(draw)
            if drawn.status != "RUNNING":
                return None
            trial = self._as_trial(drawn, rung)
            if not halving.has(trial.config, trial.rung):
                return self._note(trial, drawn.trial_id)
            self._end(drawn.trial_id, _remembered(halving, trial))
        return None

    def repeat(self, trial: Trial) -> Trial:
        """Ask for just this; a question of the oracle that was interrupted is the oracle's again."""
        given, filled = trial.parameters, self._filled(trial.parameters)
        open_ones = {name: decode(self._ranges[name], value) for name, value in filled.values.items()}
        kept = {name: value for name, value in given.items() if name in filled.values or name not in self._ranges}
        asked = Trial(self._study, len(self._asked), {**open_ones, **kept}, trial.default, rung=trial.rung)
        return self._note(asked, self._left_open(asked))

    def should_prune(self, trial: Trial, step: int, score: float) -> bool:
        """Pass a score on; no oracle of KerasTuner has ever answered that it has seen enough."""
        name = self._names.get(trial.number)
        if name is None or not math.isfinite(score):
            return False
        stop: bool = self._oracle.update_trial(name, {OBJECTIVE: score}, step=step).status == "STOPPED"
        return stop and not trial.default

    def tell(self, record: Trial) -> None:  # noqa: D102
        asked, name = self._asked[record.number], self._names.get(record.number)
        if asked.status not in (NOT_BEGUN, "interrupted"):  # its record was lost after the oracle had been told
            return
        self._asked[record.number] = replace(asked, result=_bare(record))
        if name is not None and record.status != "interrupted":
            self._end(name, record.accuracy)
        self._save()

    def told(self) -> set[int]:  # noqa: D102
        return {trial.number for trial in self._asked if trial.status != NOT_BEGUN}

    def left_running(self) -> list[Trial]:  # noqa: D102
        lost = {trial.number for trial in self._asked if self._run.lacks_record(self._study, trial.number)}
        return [trial for trial in self._asked if trial.status == NOT_BEGUN or trial.number in lost]

    def _make_oracle(self, study: Study, seed: int) -> Any:
        name, fidelity = study.space.engine.oracle, study.space.fidelity
        shared = {
            "objective": keras_tuner.Objective(OBJECTIVE, "max"),
            "hyperparameters": hyperparameters(self._ranges),
            "seed": 1 + 7919 * seed % (2**31 - 1),  # the oracle counts on from it: near ones would overlap; 0 is none
            "max_consecutive_failed_trials": MANY,
        }
        if name == "hyperband":
            if fidelity.n_rungs < 2:
                raise InputError(
                    f"study {study.space.name}, [search] oracle = hyperband: needs a table [fidelity], "
                    "such as epochs = [2, 6, 14], whose rungs it gives out"
                )
            factor = factor_of(fidelity)
            self._rungs = {factor**rung: rung for rung in range(fidelity.n_rungs)}
            budget = {"max_epochs": max(self._rungs), "factor": factor, "hyperband_iterations": MANY}
            oracle = keras_tuner.oracles.HyperbandOracle(**shared, **budget)
        else:
            oracle = keras_tuner.oracles.BayesianOptimizationOracle(**shared, max_trials=MANY)
        oracle.verbose = 0
        oracle.save = lambda: None  # it would write its files in place, where a kill cuts them off
        oracle._save_trial = lambda trial: None
        oracle.score_trial = _score_by_the_end
        return oracle

    def _draw(self, draw: int) -> Any:
        """Let the oracle ask; in one thread, since over tens of trials several only get in each other's way."""
        oracle, number = self._oracle, len(self._asked)
        if not self.chooses_rungs:
            # Seeded by position, so that a run which was interrupted asks what it would have asked. The process may
            # ask for the same for ever; after a repetition it is chance that asks.
            oracle._random_state = np.random.RandomState((oracle.seed + number) % 2**32)
            oracle.num_initial_points = MANY if draw else STARTUP_TRIALS
        with threadpool_limits(1), warnings.catch_warnings(action="ignore"):  # of lengths at the end of their range
            return oracle.create_trial(str(number))

    def _as_trial(self, drawn: Any, rung: int) -> Trial:
        values = drawn.hyperparameters.values
        parameters = {name: decode(self._ranges[name], values[name]) for name in values if name in self._ranges}
        rung = self._rungs[values["tuner/epochs"]] if self.chooses_rungs else rung
        return Trial(self._study, len(self._asked), parameters, rung=rung)

    def _note(self, trial: Trial, name: str | None) -> Trial:
        self._asked.append(trial)
        if name is not None:
            self._names[trial.number] = name
        self._save()
        return trial

    def _left_open(self, asked: Trial) -> str | None:
        """Name in the oracle of the same question, where an earlier trial of it was interrupted."""
        for other in reversed(self._asked):
            same = (other.config, other.default, other.rung) == (asked.config, asked.default, asked.rung)
            if same and other.status == "interrupted" and (name := self._names.get(other.number)) is not None:
                return name if self._oracle.trials[name].status == "RUNNING" else None
        return None

    def _end(self, name: str, accuracy: float | None) -> None:
        trial = self._oracle.trials[name]
        if accuracy is not None:
            self._oracle.update_trial(name, {OBJECTIVE: accuracy}, step=LAST)
        trial.status = "FAILED" if accuracy is None else "COMPLETED"
        self._oracle.end_trial(trial)

    def _teach(self, rung: int) -> None:
        """Put what ended on this rung and was no question of the oracle into its trials."""
        for asked in self._asked:
            if asked.number not in self._names and asked.rung == rung and asked.is_complete:
                self._names[asked.number] = name = f"told-{asked.number}"
                self._oracle.trials[name] = trial = OracleTrial(self._filled(asked.parameters), name, "COMPLETED")
                trial.score = asked.accuracy
                self._oracle._record_values(trial)

    def _filled(self, parameters: Mapping[str, Any]) -> Any:
        """Give `parameters` as the oracle keeps them: active ones alone, those that are left open by chance."""
        filled = keras_tuner.HyperParameters()
        seed = self._oracle.seed + len(self._asked)
        for place, parameter in enumerate(self._oracle.hyperparameters.space):
            name = parameter.name
            filled.merge([parameter])
            if filled.is_active(parameter):
                given = name in parameters
                value = encode(self._ranges[name], parameters[name]) if given else parameter.random_sample(seed + place)
                filled.values[name] = value
        return filled

    def _save(self) -> None:
        trials = {
            name: {"values": trial.hyperparameters.values, "status": trial.status, "score": trial.score}
            for name, trial in self._oracle.trials.items()
        }
        asked, names = [asdict(trial) for trial in self._asked], list(self._names.items())
        state = {"asked": asked, "names": names, "trials": trials, "oracle": self._oracle.get_state()}
        write_text(self._file, json.dumps(state) + "\n")

    def _load(self) -> bool:
        """Read what an earlier call wrote; False where it cannot be read."""
        if not self._file.exists():
            return True
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
            self._asked = [parsed(Trial, asked) for asked in state["asked"]]
            self._names = {int(number): str(name) for number, name in state["names"]}
            for name, saved in state["trials"].items():
                own = self._oracle.get_space()
                own.values = saved["values"]
                self._oracle.trials[name] = OracleTrial(own, name, saved["status"])
                self._oracle.trials[name].score = saved["score"]
            self._oracle.set_state(state["oracle"])
        except Exception:  # KerasTuner raises whatever reading what it did not write raises
            put_aside(self._file)
            return False
        return True

    def _begin_from(self, records: Mapping[int, Trial]) -> None:
        """Take the questions from the records; a number without one was asked in vain, or its record is lost."""
        lost = TrialResult("failed", "its record is lost")
        self._names = {}
        self._asked = [Trial(self._study, n, result=lost) for n in range(self._run.next_number(self._study))]
        for number, record in records.items():
            if number != PREPARATION:
                asked = Trial(self._study, number, record.parameters, record.default, rung=record.rung)
                self._asked[number] = replace(asked, result=_bare(record))
        self._save()


def factor_of(fidelity: Fidelity) -> int:
    """Mean step between two rungs, as a whole number of at least 2."""
    whole = math.prod(float(values[-1] / values[0]) for values in fidelity.paid.values())
    return max(2, round(whole ** (1 / (fidelity.n_rungs - 1))))


def _bare(record: Trial) -> TrialResult:
    return TrialResult(record.status, accuracy=record.accuracy)


def _remembered(halving: SuccessiveHalving, asked: Trial) -> float | None:
    return next((t.accuracy for t in halving.trials if (t.config, t.rung) == (asked.config, asked.rung)), None)


def _score_by_the_end(trial: Any) -> None:
    """Score a trial by what its model came to, not by its best moment while it trained."""
    trial.score = trial.metrics.get_last_value(OBJECTIVE)
