"""Opens the search over every study of a benchmark, with the sampler that its study names."""

from collections.abc import Sequence

from fmnist_bench.config.study import Study
from fmnist_bench.search.optuna_sampler import OptunaSampler
from fmnist_bench.search.sampler import Sampler
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.run_folder import Run


def make_study_searches(studies: Sequence[Study], run: Run, seed: int, thorough: bool) -> list[StudySearch]:
    """Open every study; the plain one over a space stands before those with an augmentation."""
    searches: dict[str, StudySearch] = {}
    for study in studies:
        plain = searches.get(study.space.name) if study.augmented else None
        searches[study.name] = StudySearch(study, run, _make_sampler(study, run, seed), thorough, plain)
    return list(searches.values())


def _make_sampler(study: Study, run: Run, seed: int) -> Sampler:
    if study.space.engine.name == "keras-tuner":
        from fmnist_bench.search.keras_tuner_sampler import KerasTunerSampler

        return KerasTunerSampler(study, run, seed)
    return OptunaSampler(study, run, seed, study.space.engine.oracle)
