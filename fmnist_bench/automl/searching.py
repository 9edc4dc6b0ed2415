"""What `AutoClassifier.fit` has done: the runs of all seeds, the best of them, the training on all rows."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_benchmark, with_studies
from fmnist_bench.config.study import HIGHEST_SEED, NETWORKS, NO, RUN_REFITS, Benchmark
from fmnist_bench.config.suite import STRIDE, seeds
from fmnist_bench.data.dataset import Dataset
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.members import train, with_length_found
from fmnist_bench.progress.displays import make_progress
from fmnist_bench.runner import run_benchmark

if TYPE_CHECKING:
    from fmnist_bench.automl.results import RunResults
    from fmnist_bench.report.findings import Findings

AUTO_REFITS = *RUN_REFITS, "full"
Found = list["tuple[RunResults, Findings]"]


def check_parameters(model: Any) -> None:
    """Refuse what `run_benchmark` does not look at.

    Raises
    ------
    InputError
    """
    if model.refit not in AUTO_REFITS:
        raise InputError(f"refit {model.refit!r}: must be one of {', '.join(AUTO_REFITS)}")
    if not isinstance(model.seeds, Integral) or isinstance(model.seeds, bool) or model.seeds < 1:
        raise InputError(f"seeds {model.seeds!r}: must be a whole number of at least 1")


def search(model: Any, dataset: Dataset, mlruns: Path, started: float) -> Found:
    """Run the benchmark once a seed; Ctrl-C ends the one that it comes in, and those after it."""
    benchmark, found = _benchmark(model, dataset.official_split is not None), Found()
    for seed in seeds(_first_seed(model), int(model.seeds)):
        outcome = run_benchmark(
            benchmark,
            budget=model.budget,
            trials=model.trials,
            seed=seed,
            refit=NO if model.refit == NO else NETWORKS,
            fresh=True,
            data=dataset,
            mlruns=mlruns,
            workers=None if model.n_jobs in (None, -1) else model.n_jobs,
            allow_import=model.allow_import,
            progress=make_progress(quiet=not model.verbose),
            started=None if found else started,
        )
        from fmnist_bench.automl.results import RunResults  # it takes long: after the workers' server has been started

        found.append((RunResults(outcome.folder), outcome.findings))
        if outcome.stopped:
            break
    return found


def best_of(found: Found) -> tuple[RunResults, Findings]:
    """Give the run whose ensemble is best by validation rows, the first of equals."""

    def accuracy(pair: tuple[RunResults, Findings]) -> float:
        ensemble = pair[1].ensemble
        return -1.0 if ensemble is None else pair[1].valid_accuracy(ensemble)

    return max(found, key=accuracy)


def refitted(ensemble: StackedEnsemble, best: Any, dataset: Dataset) -> tuple[StackedEnsemble, Any]:
    """Train the members and the best single model on all rows, for as long as was best; weights stay.

    Networks that were fine-tuned have learnt from them already.
    """
    fitted = [*ensemble.members_, ("best", best)]
    due = {id(member): (name, member) for name, member in fitted if not getattr(member, "fine_tuned_", False)}
    again = train(
        [(name, with_length_found(member, member)) for name, member in due.values()],
        dataset.X,
        dataset.y,
        np.arange(len(dataset.X)),
        metadata={},
        image_shape=dataset.image_shape,
        n_jobs=None,
    )
    for _, pipeline in again:
        pipeline.classes_ = np.asarray(dataset.classes)[pipeline.classes_]  # it learnt codes, it answers labels
    new = {key: pipeline for key, (_, pipeline) in zip(due, again, strict=True)}
    ensemble.members_ = [(name, new.get(id(member), member)) for name, member in ensemble.members_]
    ensemble.estimators = ensemble.members_
    return ensemble.set_params(refit="full"), new.get(id(best), best)


def _first_seed(model: Any) -> int:
    seed = model.random_state
    if isinstance(seed, Integral):
        return int(seed)
    return int(check_random_state(seed).randint(HIGHEST_SEED - STRIDE * (int(model.seeds) - 1)))


def _benchmark(model: Any, given_validation: bool) -> Benchmark:
    """Make the benchmark that is run: other studies, and all rows where validation rows are given."""
    benchmark = load_benchmark(model.benchmark)
    if model.studies is not None:
        benchmark = with_studies(benchmark, model.studies, "AutoClassifier")
    return replace(benchmark, rows=None, valid_size=None) if given_validation else benchmark
