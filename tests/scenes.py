"""Studies without worker processes, for the tests of what is asked and told."""

import math
from dataclasses import replace

from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import DefaultConfiguration, SearchSpace, Study
from fmnist_bench.search.optuna_sampler import OptunaSampler
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.run_folder import Run, Store

EPOCHS = {"rows": (0.5, 1.0, 1.0), "model__epochs": (2, 6, 14)}
SPACE = Spec("sklearn.svm.SVC", {"C": Range(0.1, 10.0, log=True), "degree": Range(1, 5)})
LEVELS = {"model__max_iter": (10, 30, 90)}
KNOWN = [DefaultConfiguration("one", {"model__C": 3.0, "model__degree": 2})]


def make_run(folder):
    """The empty folder of a run."""
    (folder / "run").mkdir()
    return Run(Store(folder / "mlruns"), folder / "run", "b")


def make(run, defaults=(), spec=SPACE, levels=None, thorough=False):
    network, fidelity = spec.class_name == "CNNClassifier", Fidelity(levels or {})
    study = Study(SearchSpace("svm", spec, defaults=tuple(defaults), fidelity=fidelity, compresses_schedule=network))
    return StudySearch(study, run, OptunaSampler(study, run, seed=0), thorough)


def ask(search, box=math.inf):
    """Ask for what the study would try next."""
    proposal = search.search(math.inf, box)
    return proposal and search.ask(proposal)


def answer(search, run, ask, accuracy=0.5, status="complete", seconds=1.0, **result):
    result = TrialResult(status, accuracy=accuracy, log_loss=1.0, fit_seconds=seconds, **result)
    record = replace(ask, result=result, seconds=seconds)
    run.save_record(record)
    search.tell(record)
    return record


def network(run):
    """The search of a network with a default configuration, with rungs of epochs."""
    spec = Spec("fmnist_bench.models.CNNClassifier", {"learning_rate": Range(0.1, 1.0)})
    return make(run, [DefaultConfiguration("one", {"model__learning_rate": 0.5})], spec, levels=EPOCHS)
