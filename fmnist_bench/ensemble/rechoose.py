"""The ensemble chosen again from what the trials of a run left: by another method, within a limit, of some studies."""

import math
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from fmnist_bench._utils.errors import InputError, PredictionError, nearest
from fmnist_bench._utils.probabilities import check_probabilities
from fmnist_bench.config.study import EnsembleConfig
from fmnist_bench.data.dataset import Dataset, load_dataset
from fmnist_bench.ensemble.choose import about_of, costs_of
from fmnist_bench.ensemble.saved import write_bundle
from fmnist_bench.ensemble.selection import (
    FOLDS,
    METHODS,
    Combination,
    Floats,
    Integers,
    fit_temperature,
    learn_combination,
)
from fmnist_bench.ensemble.usable import faults_of_models, given_up
from fmnist_bench.models.saved import save_model
from fmnist_bench.storage.run_folder import Run, read_split
from fmnist_bench.storage.trial import Trial, trial_fault
from fmnist_bench.trials.model_check import CHECKED_ROWS

Learn = Callable[[Floats, Integers], Combination]


@dataclass(frozen=True, eq=False)
class Rechosen:
    """An ensemble that was chosen again; nothing of it is written.

    Attributes
    ----------
    method : str
    n_offered : int
        Trials that could be chosen.
    members : tuple of Trial
        In the order of the combination's weights.
    combination : Combination
        Of these members alone.
    costs : ndarray of shape (n_members,)
        Milliseconds a row.
    right : ndarray of bool, shape (n_valid,)
        Validation rows whose label it finds, which it was chosen on.
    right_left_out : ndarray of bool, shape (n_valid,)
        The same, each row by an ensemble that was chosen by the same rule without that row's fold.
    """

    method: str
    n_offered: int
    members: tuple[Trial, ...]
    combination: Combination
    costs: NDArray[np.float64]
    right: NDArray[np.bool_]
    right_left_out: NDArray[np.bool_]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Study and number of each member."""
        return [(record.study, record.number) for record in self.members]


def choose_offline(
    run: Run,
    method: str = "greedy",
    max_latency: float | None = None,
    studies: Collection[str] = (),
    every_trial: bool = False,
) -> Rechosen:
    """Choose members and weights by the validation probabilities that the trials of a run left.

    Parameters
    ----------
    run : Run
        It may have been killed.
    method : {"greedy", "logistic", "mean"}
        See `StackedEnsemble`. The latter two take the best trial of each study; within a limit of latency the most
        accurate of these that fit, one after another.
    max_latency : float or None
        Milliseconds a row that the members may take together.
    studies : collection of str
        Take trials of these alone; empty for all.
    every_trial : bool
        Offer complete trials whose models were not kept, too: such an ensemble cannot be saved.

    Raises
    ------
    InputError
        Where there is no such method or study, no complete trial, or none as fast as the limit.
    """
    _check(run, method, max_latency, studies)
    y, records = run.y_valid(), _offered(run, studies, every_trial)
    probabilities = np.stack([run.valid_probabilities(r.study, r.number) for r in records])
    costs, limit, n_offered = costs_of(run, records), max_latency or math.inf, len(records)
    if costs.min() > limit:
        raise InputError(
            f"max-latency {max_latency:g}: the fastest of {len(records)} trials takes {costs.min():.2g} ms"
        )
    if method != "greedy":
        kept = _fitting(records, costs, limit)
        records, probabilities, costs = [records[i] for i in kept], probabilities[kept], costs[kept]
    steps = run.state.get("max_steps", EnsembleConfig.max_steps)
    learn = partial(learn_combination, method=method, max_steps=steps, costs=costs, max_cost=limit)
    if method == "logistic":  # it takes long to fit: one temperature is found below, of rows that were left out
        learn = partial(learn, calibrate=False)
    found, left_out = learn(probabilities, y), _left_out(probabilities, y, learn)
    if method == "logistic":
        found = replace(found, temperature=fit_temperature(left_out, y))
    right, right_left_out = (each.argmax(axis=1) == y for each in (found.apply(probabilities), left_out))
    members = np.flatnonzero(found.weights) if found.stacker is None else np.arange(len(records))
    chosen = tuple(records[i] for i in members)
    return Rechosen(method, n_offered, chosen, _of_members(found, members), costs[members], right, right_left_out)


def save_offline(run: Run, found: Rechosen, folder: str | Path, allow_import: Sequence[str] = ()) -> None:
    """Save an ensemble that was chosen again, as `load_ensemble` reads it.

    Raises
    ------
    InputError
        Where a member's model was not kept or cannot be used, the train rows are gone, or something else is there.
    """
    check_kept(run, found)
    dataset = train_rows(run)
    X = dataset.X[read_split(run.folder, "validation")[:CHECKED_ROWS]]
    for (study, number), reason in faults_of_models(run, found.keys, X, allow_import).items():
        raise InputError(f"{study} trial {number}: {reason}")
    combination, n = found.combination, len(found.members)
    temperatures = np.ones(n) if combination.temperatures is None else combination.temperatures
    files = [
        (f"{study}-{number}", float(weight), float(temperature), run.model_file(study, number))
        for (study, number), weight, temperature in zip(found.keys, combination.weights, temperatures, strict=True)
    ]
    about = about_of(dataset, found.method, combination.temperature)
    with tempfile.TemporaryDirectory() as place:
        stacker = None if combination.stacker is None else Path(place) / "stacker.skops"
        if stacker is not None:
            save_model(combination.stacker, stacker)
        write_bundle(Path(folder), files, about, stacker)


def check_kept(run: Run, found: Rechosen) -> None:
    """Refuse members whose models the run has not kept."""
    for study, number in found.keys:
        if not run.model_file(study, number).is_file():
            raise InputError(f"{study} trial {number}: its model was not kept; leave out --every-trial")


def _check(run: Run, method: str, max_latency: float | None, studies: Collection[str]) -> None:
    if method not in METHODS:
        raise InputError(f"method {method!r}: must be one of {', '.join(METHODS)}")
    if max_latency is not None and not 0 < max_latency < math.inf:
        raise InputError(f"max-latency {max_latency!r}: must be a number of milliseconds above 0")
    known = list(run.state["studies"])
    if unknown := [study for study in studies if study not in known]:
        raise InputError(f"studies: the run has no {unknown[0]!r}, but {', '.join(known)}{nearest(unknown[0], known)}")


def _offered(run: Run, studies: Collection[str], every_trial: bool) -> list[Trial]:
    """Find complete trials whose probabilities are whole and, unless every trial counts, whose models are kept."""
    y, found = run.y_valid(), list[Trial]()
    columns: int | None = None
    searched = [study for study in run.state["studies"] if study not in run.state.get("students", ())]
    for study in dict.fromkeys(studies or searched):
        for record in run.records(study):
            key = study, record.number
            kept = every_trial or (run.model_file(*key).is_file() and key not in given_up(run))
            if not kept or not record.is_complete or trial_fault(run.trial_folder(*key), record, y):
                continue
            probabilities = run.valid_probabilities(*key)
            columns = columns or probabilities.shape[1]
            try:
                check_probabilities(probabilities, len(y), columns)
            except PredictionError:
                continue
            found.append(record)
    if not found:
        raise InputError(
            f"{run.folder}: holds no complete trial{' of these studies' if studies else ''} to choose from"
        )
    return found


def _fitting(records: Sequence[Trial], costs: NDArray[np.float64], limit: float) -> NDArray[np.int64]:
    """Take a trial of each study, the most accurate first, where it still fits within the limit."""
    order = sorted(range(len(records)), key=lambda i: -(records[i].accuracy or 0.0))
    spent, kept, studies = 0.0, list[int](), set[str]()
    for i in order:
        if records[i].study not in studies and spent + costs[i] <= limit:
            spent += costs[i]
            kept.append(i)
            studies.add(records[i].study)
    return np.array(sorted(kept))


def _left_out(probabilities: Floats, y: Integers, learn: Learn) -> NDArray[np.float64]:
    """Predict each row by an ensemble that was chosen without its fold; of shape (n_rows, n_classes)."""
    predicted = np.empty(probabilities.shape[1:])
    for fit, rest in KFold(min(FOLDS, len(y)), shuffle=True, random_state=0).split(y):
        predicted[rest] = learn(probabilities[:, fit], y[fit]).apply(probabilities[:, rest])
    return predicted


def _of_members(found: Combination, members: NDArray[np.int64]) -> Combination:
    temperatures = None if found.temperatures is None else found.temperatures[members]
    return Combination(found.weights[members], found.temperature, found.stacker, temperatures)


def train_rows(run: Run) -> Dataset:
    """Load the rows that a run learnt from, its validation rows among them.

    Raises
    ------
    InputError
        Where they are gone, or have changed since.
    """
    if run.state.get("in_memory"):
        return run.cached_dataset()
    reading = run.state.get("reading", {})
    dataset = load_dataset(run.state["data"], "train", path=run.state["data_path"], **reading)
    if dataset.fingerprint != run.state["fingerprint"]:
        raise InputError(f"{run.state['data']}: has changed since the run began; put back what it learnt from")
    return dataset
