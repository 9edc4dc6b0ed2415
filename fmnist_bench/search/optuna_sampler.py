"""Asks for parameters, tells how they did. Beside `space_optuna` the only importer of Optuna."""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from fmnist_bench.config.study import Study
from fmnist_bench.search._optuna_space import decode, distribution, encode
from fmnist_bench.search.sampler import Sampler, agree
from fmnist_bench.search.successive_halving import AS_IT_STANDS, SuccessiveHalving
from fmnist_bench.storage.journal import open_journal
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import Trial

STARTUP_TRIALS = 5  # random trials before TPE learns: a run has tens of trials a study, not hundreds
DRAWS = 20  # tries at parameters that have not been tried; a small discrete space runs out of them
STEPS = 100_000  # steps that Optuna sees on one rung: scores are compared within a rung alone


class OptunaSampler(Sampler):
    """Optuna's TPE, in a journal beside the run.

    The records of the trials are the truth. Where the journal is damaged, or does not agree with them, it is made
    again from them; otherwise new parameters would be asked under the numbers of trials that have ended.

    Parameters
    ----------
    study : Study
    run : Run
    seed : int
    sampler : {"tpe", "random"}
    """

    def __init__(self, study: Study, run: Run, seed: int, sampler: str = "tpe") -> None:
        self._study, self._run, self._seed, self._sampler = study.name, run, seed, sampler
        self._top = study.space.fidelity.n_rungs - 1
        self._live: dict[int, optuna.Trial] = {}
        self._ranges = study.ranges()
        self._distributions = {name: distribution(r) for name, r in self._ranges.items()}
        self._storage = open_journal(run.journal)
        self._optuna = self._open_optuna()
        records = {record.number: record for record in run.records(study.name)}
        if not agree(map(self._as_trial, self._trials()), records.values()) or self._is_told_otherwise(records):
            self._begin_from(records)

    def ask(self, halving: SuccessiveHalving, rung: int) -> Trial | None:  # noqa: D102
        for draw in range(DRAWS):
            self._seed_sampler(halving.count, draw)
            trial = self._ask(rung=rung)
            if not halving.has(trial.config, rung):
                return trial
            self._optuna.tell(self._live.pop(trial.number), state=TrialState.FAIL)
        return None

    def repeat(self, trial: Trial) -> Trial:  # noqa: D102
        own = self._own(trial.parameters)
        self._optuna.enqueue_trial(own, user_attrs=_attributes(trial, own))
        self._seed_sampler(zlib.crc32(trial.default.encode()), trial.rung + 1)  # for what is left open
        return self._ask()

    def should_prune(self, trial: Trial, step: int, score: float) -> bool:  # noqa: D102
        live = self._live.get(trial.number)
        if live is None or not math.isfinite(score):
            return False
        live.report(score, step + STEPS * (trial.rung + 1))
        return not trial.default and live.should_prune()

    def tell(self, record: Trial) -> None:
        """Take the answer; what completed below the top rung is to Optuna a trial that was stopped there."""
        trial, state = self._live.pop(record.number, None), self._state(record)
        if record.number in self.told():  # its record was lost after Optuna had been told
            return
        if state == TrialState.COMPLETE:
            self._optuna.tell(record.number, record.result.accuracy)
        else:
            if trial is not None:
                for step, score in _last_score(record).items():
                    trial.report(score, step)
            self._optuna.tell(record.number, state=state)

    def told(self) -> set[int]:  # noqa: D102
        return {trial.number for trial in self._trials() if trial.state.is_finished()}

    def left_running(self) -> list[Trial]:  # noqa: D102
        while any(trial.state == TrialState.WAITING for trial in self._trials()):
            self._optuna.ask()  # enqueued, but never asked
        whole = [trial for trial in self._trials() if self._is_whole(trial.params)]
        running = [trial for trial in self._trials() if trial.state == TrialState.RUNNING]
        for trial in running:
            if trial not in whole:  # cut off before all of it was written
                self._optuna.tell(trial.number, state=TrialState.FAIL)
        running = [trial for trial in running if trial in whole]
        self._live |= {trial.number: optuna.Trial(self._optuna, trial._trial_id) for trial in running}
        lost = [trial for trial in whole if trial not in running and self._run.lacks_record(self._study, trial.number)]
        return [self._as_trial(trial) for trial in (*running, *lost)]

    def _open_optuna(self) -> optuna.Study:
        return optuna.create_study(
            storage=self._storage,
            study_name=self._study,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1, n_min_trials=2),
        )

    def _is_told_otherwise(self, records: Mapping[int, Trial]) -> bool:
        """Whether a trial ended otherwise than Optuna was told, such as one whose files were damaged since then."""
        states = {trial.number: trial.state for trial in self._trials() if trial.state.is_finished()}
        return any(number in records and state != self._state(records[number]) for number, state in states.items())

    def _begin_from(self, records: Mapping[int, Trial]) -> None:
        """Make the study again from the records; a number without one was asked in vain, or its record is lost."""
        optuna.delete_study(study_name=self._study, storage=self._storage)
        self._optuna = self._open_optuna()
        for number in range(self._run.next_number(self._study)):
            record = records.get(number)
            self._optuna.add_trial(
                optuna.create_trial(state=TrialState.FAIL) if record is None else self._frozen(record)
            )

    def _frozen(self, record: Trial) -> FrozenTrial:
        """A trial that has ended, as Optuna would have it."""
        own, state, history = self._own(record.parameters), self._state(record), record.result.history
        steps, scores = history.get("step", []), history.get("valid_accuracy", [])
        reported = {int(step) + STEPS * (record.rung + 1): score for step, score in zip(steps, scores, strict=False)}
        return optuna.create_trial(
            state=state,
            value=record.result.accuracy if state == TrialState.COMPLETE else None,
            params=own,
            distributions={name: self._distributions[name] for name in own},
            user_attrs=_attributes(record, own),
            intermediate_values={step: s for step, s in reported.items() if math.isfinite(s)} | _last_score(record),
        )

    def _state(self, record: Trial) -> TrialState:
        if record.is_complete:
            return TrialState.COMPLETE if record.rung in (AS_IT_STANDS, self._top) else TrialState.PRUNED
        return TrialState.PRUNED if record.status == "pruned" else TrialState.FAIL

    def _own(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those parameters that come out of a range, as Optuna keeps them; what is known may lie outside."""
        inside = {n: value for n, value in parameters.items() if n in self._ranges and self._ranges[n].contains(value)}
        return {name: encode(value) for name, value in inside.items()}

    def _seed_sampler(self, *position: int) -> None:
        """Seed by position, so that a run which is repeated, or was interrupted, asks what it would have asked."""
        seed = int(np.random.SeedSequence([self._seed, *position]).generate_state(1)[0])
        if self._sampler == "random":
            self._optuna.sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            self._optuna.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)

    def _ask(self, **attributes: Any) -> Trial:
        trial, values = self._optuna.ask(), dict[str, Any]()
        for name, own in self._ranges.items():  # what a condition is about stands before what depends on it
            if own.is_active(values):
                values[name] = trial._suggest(name, self._distributions[name])
        for name, value in attributes.items():
            if value:
                trial.set_user_attr(name, value)
        self._live[trial.number] = trial
        return self._as_trial(trial)

    def _is_whole(self, values: Mapping[str, Any]) -> bool:
        return all(name in values for name, own in self._ranges.items() if own.is_active(values))

    def _trials(self) -> list[FrozenTrial]:
        return self._optuna.get_trials(deepcopy=False)

    def _as_trial(self, trial: optuna.Trial | FrozenTrial) -> Trial:
        """Give what Optuna was asked, without its answer."""
        asked, attributes = trial.params.items(), trial.user_attrs
        parameters = {**{name: decode(value) for name, value in asked}, **attributes.get("constants", {})}
        return Trial(
            self._study, trial.number, parameters, attributes.get("default", ""), rung=attributes.get("rung", 0)
        )


def _attributes(trial: Trial, own: Mapping[str, Any]) -> dict[str, Any]:
    constants = {name: value for name, value in trial.parameters.items() if name not in own}
    return {"default": trial.default, "constants": constants, "rung": trial.rung}


def _last_score(record: Trial) -> dict[int, float]:
    """What completed, after every score of its rung."""
    return {} if record.accuracy is None else {STEPS * (record.rung + 2) - 1: record.accuracy}
