"""The choice of the ensemble, by valid rows alone: which trials' models, with what weights, at what cost."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fmnist_bench.arrays import background_of
from fmnist_bench.bundle import write_bundle
from fmnist_bench.data import Dataset
from fmnist_bench.selection import Combination, learn_combination
from fmnist_bench.store import Run, TrialRecord
from fmnist_bench.study import EnsembleConfig


def choose_ensemble(
    run: Run, records: Sequence[TrialRecord], dataset: Dataset, settings: EnsembleConfig, say: Callable[[str], None]
) -> float:
    """Pick and weight members among trials, and save the ensemble.

    ``run.state`` then tells the ``members``, the ``temperature`` and the ``latency``: the limit, and milliseconds a row
    and valid accuracy of the ensemble and of every trial that could be chosen.

    Parameters
    ----------
    run : Run
    records : sequence of TrialRecord
        Complete trials whose models are kept, at least one.
    dataset : Dataset
    settings : EnsembleConfig
    say : callable
        Is told, in one line, that no model is as fast as it should be.

    Returns
    -------
    float
        Valid accuracy of the ensemble, 0 to 1.
    """
    probabilities = np.stack([run.valid_probabilities(r.arm, r.number) for r in records])
    y = run.y_valid()
    costs = np.array([1000 * record.result.predict_seconds / len(y) for record in records])
    limit = _limit(settings.max_latency, float(costs.min()), say)
    found = learn_combination(probabilities, y, max_steps=settings.max_steps, costs=costs, max_cost=limit)
    accuracy = float((found.apply(probabilities).argmax(axis=1) == y).mean())
    members = _save(run, records, dataset, found)
    latency = {
        "limit": settings.max_latency,
        "ensemble": [float(costs[found.weights > 0].sum()), accuracy],
        "models": [[r.arm, r.number, float(ms), r.result.accuracy] for r, ms in zip(records, costs, strict=True)],
    }
    run.save_state(members=members, temperature=found.temperature, latency=latency)
    return accuracy


def _limit(limit: float | None, cheapest: float, say: Callable[[str], None]) -> float:
    """Give the milliseconds that a row may take; where no model is so fast, those of the fastest."""
    if limit is not None and cheapest > limit:
        say(f"No model predicts a row in {limit:g} ms; the fastest takes {cheapest:.2g} ms")
    return max(limit or math.inf, cheapest)


def _save(run: Run, records: Sequence[TrialRecord], dataset: Dataset, found: Combination) -> list[tuple[Any, ...]]:
    """Write the ensemble's folder; give arm, number and weight of each member, the weightiest first."""
    chosen = [(r, float(weight)) for r, weight in zip(records, found.weights, strict=True) if weight > 0]
    chosen.sort(key=lambda pair: -pair[1])
    files = [(f"{r.arm}-{r.number}", weight, run.model_file(r.arm, r.number)) for r, weight in chosen]
    about = {
        "method": "greedy",
        "temperature": found.temperature,
        "pixels": True,
        "fingerprint": dataset.fingerprint,
        "n_features_in": dataset.X.shape[1],
        "image_shape": list(dataset.image_shape),
        "background": background_of(dataset.X, dataset.image_shape),
        "classes": dataset.classes.tolist(),
        "class_names": list(dataset.class_names),
    }
    write_bundle(run.ensemble_folder, files, about, own_place=True)
    return [(r.arm, r.number, weight) for r, weight in chosen]
