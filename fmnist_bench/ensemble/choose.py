"""The choice of the ensemble, by validation rows alone: which trials' models, with what weights, at what cost."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench.config.study import EnsembleConfig
from fmnist_bench.data.dataset import Dataset
from fmnist_bench.data.pixels import background_of
from fmnist_bench.ensemble.saved import write_bundle
from fmnist_bench.ensemble.selection import Combination, learn_combination
from fmnist_bench.ensemble.usable import Key, Say, faults_of_files, faults_of_models, give_up, given_up
from fmnist_bench.storage.run_folder import Run, read_split
from fmnist_bench.storage.trial import Trial, best
from fmnist_bench.trials.model_check import CHECKED_ROWS


def choose_ensemble(
    run: Run,
    records: Sequence[Trial],
    dataset: Dataset,
    settings: EnsembleConfig,
    say: Say,
    allow_import: Sequence[str] = (),
) -> None:
    """Pick and weight members among trials that can be used, and save the ensemble; the others are given up.

    ``run.state`` then tells the ``members``, none where no trial is left, the ``temperature``, and the ``latency``: the
    limit, and milliseconds a row and validation accuracy of the ensemble and of every trial that could be chosen. For
    `choose_again` it keeps the trials that were ``offered``, and ``max_steps``.

    Parameters
    ----------
    run : Run
    records : sequence of Trial
        Complete trials whose models are kept, at least one.
    dataset : Dataset
    settings : EnsembleConfig
    say : callable
        Is told, in one line each, which trials are given up, and that no model is as fast as it should be.
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.
    """
    keys = [(r.study, r.number) for r in records]
    run.save_state(offered=keys, max_steps=settings.max_steps)
    give_up(run, faults_of_files(run, [key for key in keys if key not in given_up(run)], len(dataset.class_names)), say)
    X, checked = dataset.X[read_split(run.folder, "validation")[:CHECKED_ROWS]], set[Key]()
    while pool := [r for r in records if (r.study, r.number) not in given_up(run)]:
        found = _learn(run, pool, settings, say)
        chosen = {(r.study, r.number) for r, weight in zip(pool, found.weights, strict=True) if weight > 0}
        faults = faults_of_models(run, sorted(chosen - checked), X, allow_import)
        if not faults:
            members = _save(run, pool, dataset, found)
            run.save_state(members=members, temperature=found.temperature, latency=_latency(run, pool, found, settings))
            return
        give_up(run, faults, say)
        checked |= chosen
    run.save_state(members=[])


def choose_again(run: Run, dataset: Dataset, say: Say, allow_import: Sequence[str] = ()) -> None:
    """Choose by the same rule from the same trials, less those that were given up since."""
    kept = [record for key in offered(run) if key not in given_up(run) and (record := run.record(*key)) is not None]
    settings = EnsembleConfig(
        max_steps=run.state.get("max_steps", EnsembleConfig.max_steps),
        max_latency=run.state.get("latency", {}).get("limit"),
    )
    choose_ensemble(run, kept, dataset, settings, say, allow_import)


def offered(run: Run) -> list[Key]:
    """Trials that may become members: the best of each study, whose models are kept."""
    if "offered" in run.state:
        return [(study, int(number)) for study, number in run.state["offered"]]
    found = [best(run.records(study), EnsembleConfig.per_study) for study in run.state["studies"]]  # an older run
    return [(r.study, r.number) for records in found for r in records]


def members_of(run: Run) -> list[tuple[str, int, float]]:
    """Give study, trial and weight of each member of the ensemble; none where no trial was complete."""
    return [(study, int(number), float(weight)) for study, number, weight, _ in run.state.get("members", [])]


def combination_of(run: Run) -> Combination:
    """Give how the members become one prediction."""
    numbers = np.array([entry[2:] for entry in run.state["members"]], dtype=np.float64)
    return Combination(numbers[:, 0], float(run.state["temperature"]), temperatures=numbers[:, 1])


def costs_of(run: Run, records: Sequence[Trial]) -> NDArray[np.float64]:
    """Milliseconds that each model takes to predict a row."""
    return np.array([1000 * record.result.predict_seconds / len(run.y_valid()) for record in records])


def _learn(run: Run, records: Sequence[Trial], settings: EnsembleConfig, say: Say) -> Combination:
    costs = costs_of(run, records)
    limit = _limit(settings.max_latency, float(costs.min()), say)
    return learn_combination(
        _probabilities(run, records), run.y_valid(), max_steps=settings.max_steps, costs=costs, max_cost=limit
    )


def _probabilities(run: Run, records: Sequence[Trial]) -> NDArray[np.float32]:
    return np.stack([run.valid_probabilities(r.study, r.number) for r in records])


def _latency(run: Run, records: Sequence[Trial], found: Combination, settings: EnsembleConfig) -> dict[str, Any]:
    costs, predicted = costs_of(run, records), found.apply(_probabilities(run, records)).argmax(axis=1)
    return {
        "limit": settings.max_latency,
        "ensemble": [float(costs[found.weights > 0].sum()), float((predicted == run.y_valid()).mean())],
        "models": [[r.study, r.number, float(ms), r.result.accuracy] for r, ms in zip(records, costs, strict=True)],
    }


def _limit(limit: float | None, cheapest: float, say: Say) -> float:
    """Milliseconds that a row may take: the limit, or the time of the fastest model if none keeps to the limit."""
    if limit is not None and cheapest > limit:
        say(f"No model predicts a row in {limit:g} ms; the fastest takes {cheapest:.2g} ms")
    return max(limit or math.inf, cheapest)


def _save(run: Run, records: Sequence[Trial], dataset: Dataset, found: Combination) -> list[tuple[Any, ...]]:
    """Write the ensemble's folder; give study, number, weight, temperature of each member, weightiest first."""
    temperatures = np.ones(len(records)) if found.temperatures is None else found.temperatures
    pairs = zip(records, found.weights.tolist(), temperatures.tolist(), strict=True)
    chosen = sorted(
        ((r, weight, temperature) for r, weight, temperature in pairs if weight > 0), key=lambda each: -each[1]
    )
    files = [
        (f"{r.study}-{r.number}", w, temperature, run.model_file(r.study, r.number)) for r, w, temperature in chosen
    ]
    write_bundle(run.ensemble_folder, files, about_of(dataset, "greedy", found.temperature), own_place=True)
    return [(r.study, r.number, weight, temperature) for r, weight, temperature in chosen]


def about_of(dataset: Dataset, method: str, temperature: float) -> dict[str, Any]:
    """Give what the manifest of an ensemble of a run's trials says beside its members."""
    return {
        "method": method,
        "temperature": temperature,
        "pixels": True,
        "fingerprint": dataset.fingerprint,
        "n_features_in": dataset.X.shape[1],
        "image_shape": list(dataset.image_shape),
        "background": background_of(dataset.X, dataset.image_shape),
        "classes": dataset.classes.tolist(),
        "class_names": list(dataset.class_names),
    }
