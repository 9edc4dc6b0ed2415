"""What is declared: studies, their studies, benchmarks; frozen dataclasses that `config` reads from TOML files."""

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.building import as_argument, build, module_of
from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.space import Range, Spec, constants_of, default_names, ranges

if TYPE_CHECKING:
    from fmnist_bench.pipeline import Pipeline

HIGHEST_SEED = 2**32 - 3  # of numpy's generators the highest but two: the best network is trained again with those
DEFAULT_BUDGET = 1800.0  # seconds
END_SECONDS = 20.0  # of a budget: choosing the ensemble, registering it, figures, report
MOST_VALIDATION = 5000  # rows: more do not choose better, see benchmarks/ensemble/selection.md
SEARCHED = ("ratio", "balance")  # of an augmentation that learns once for all trials
QUICK = "sklearn.", "fmnist_bench.models.svm"
SEED = "model__random_state"
STUDENT = "cnn-small"  # that an ensemble teaches where a benchmark names no other
DISTILLED, UNDISTILLED, WITH_SYNTHETIC = STUDENTS = ("distilled", "undistilled", "distilled+synthetic")


@dataclass(frozen=True)
class DefaultConfiguration:
    """A configuration that a study tries first, or only where it is asked for `alone`; full names of parameters."""

    name: str
    parameters: Mapping[str, Any]
    alone: bool = False


@dataclass(frozen=True)
class Engine:
    """Who chooses the parameters of a study's trials: a sampler of Optuna, or an oracle of KerasTuner."""

    name: str = "optuna"
    oracle: str = "tpe"


@dataclass(frozen=True)
class SearchSpace:
    """One search space over Pipelines, as a file of ``studies/`` declares it.

    Attributes
    ----------
    compresses_schedule : bool
        Whether the model's class says so, see `checking.compresses_schedule`; a worker finds out, no file says it.
    """

    name: str
    model: Spec
    features: tuple[Spec, ...] = ()
    augments: tuple[Spec, ...] = ()
    defaults: tuple[DefaultConfiguration, ...] = ()
    fidelity: Fidelity = field(default_factory=Fidelity)
    engine: Engine = field(default_factory=Engine)
    resources: Mapping[str, float] = field(default_factory=dict)
    compresses_schedule: bool = False

    @property
    def trains_network(self) -> bool:
        """Whether its model is a network whose schedule a limit compresses, with rungs of epochs."""
        return self.compresses_schedule and "model__epochs" in self.fidelity.levels

    @property
    def is_quick(self) -> bool:
        """Whether its first trial is likely to be short: no network, no boosting, and no class of somebody else."""
        return module_of(self.model.use).startswith(QUICK)

    @property
    def uses(self) -> tuple[str, ...]:
        """Dotted names of every class that the study names."""
        return tuple(use for spec in (*self.augments, *self.features, self.model) for use in spec.uses())

    @property
    def studies(self) -> "tuple[Study, ...]":
        """The study as it stands, and with every combination of its augmentations, the smaller ones first."""
        chosen = (c for n in range(len(self.augments) + 1) for c in itertools.combinations(self.augments, n))
        return tuple(Study(self, augments) for augments in chosen)

    def ranges(self) -> dict[str, Range]:
        """Every range of any of its studies under its scikit-learn name."""
        return {name: r for study in self.studies for name, r in study.ranges().items()}


@dataclass(frozen=True)
class Study:
    """A study run one way: as it stands, or with some of its augmentations."""

    space: SearchSpace
    augments: tuple[Spec, ...] = ()

    @property
    def augmented(self) -> bool:
        """Whether there is any augmentation."""
        return bool(self.augments)

    @property
    def parts(self) -> tuple[str, ...]:
        """Name of the study, then of each augmentation: ``("cnn", "gan")`` with a ``ConditionalGAN``."""
        return (self.space.name, *(_short_name(spec) for spec in self.augments))

    @property
    def name(self) -> str:
        """Name to show, such as ``cnn``, ``cnn+gan`` or ``cnn+classic+gan``; `parts` says what it is made of."""
        return "+".join(self.parts)

    def ranges(self) -> dict[str, Range]:
        """Every range of the study under its scikit-learn name."""
        return {name: r for prefix, spec in self._parts() for name, r in ranges(spec, prefix)}

    def settings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """`parameters` and every constant of the study, under their scikit-learn names."""
        constants = {name: value for prefix, spec in self._parts() for name, value in constants_of(spec, prefix)}
        return {**constants, **parameters}

    def pipeline(
        self, parameters: Mapping[str, Any], allow_import: Sequence[str] = (), facts: Mapping[str, Any] = {}
    ) -> "Pipeline":
        """Build the unfitted pipeline with these `parameters`.

        `parameters` hold a value for every range; others set what the study leaves constant. For `facts` see
        `fmnist_bench.config.building.build`.
        """
        import sklearn.pipeline

        from fmnist_bench.pipeline import Pipeline

        where = f"study {self.space.name}"
        made = {p: build(s, parameters, p, f"{where}, [{p}]", allow_import, facts) for p, s in self._parts()}
        steps = [(name.removeprefix("features__"), made[name]) for name in made if name.startswith("features__")]
        features = sklearn.pipeline.Pipeline(steps) if steps else None
        pipeline = Pipeline(made["model"], features, _one_sampler(made), facts.get("cache_dir"))
        rest = {name: value for name, value in parameters.items() if name not in self.ranges()}
        found = pipeline.get_params()
        if unknown := [name for name in rest if name not in found]:
            hint = nearest(unknown[0], list(found))
            raise InputError(f"{where}, [[default]]: there is no parameter {unknown[0]}{hint}")
        for name, value in rest.items():
            owner, _, key = name.rpartition("__")
            pipeline.set_params(
                **{name: as_argument(type(found.get(owner)), key, value, f"{where}, [[default]] {owner}")}
            )
        return pipeline

    def learner(self, allow_import: Sequence[str] = (), facts: Mapping[str, Any] = {}) -> Any:
        """Build that part of the augmentation which has to learn, None where nothing has to.

        Of it `ratio` and `balance` alone may be searched, which do not matter to what it learns.
        """
        values = {name: r.ends[0] for name, r in self.ranges().items()}
        where = f"study {self.space.name}, [augment]"
        found = []
        for prefix, spec in self._samplers():
            if hasattr(sampler := build(spec, values, prefix, where, allow_import, facts), "save"):
                found.append(sampler)
                names = [name for name, _ in ranges(spec, prefix)]
                if wrong := [name for name in names if name.removeprefix(f"{prefix}__") not in SEARCHED]:
                    raise InputError(
                        f"{where}: {wrong[0]}: only {' and '.join(SEARCHED)} may have a range: it learns once"
                    )
        if len(found) > 1:
            raise InputError(f"{where}: two augmentations of one study have to learn; only one may")
        return found[0] if found else None

    def _samplers(self) -> list[tuple[str, Spec]]:
        if len(self.augments) == 1:
            return [("augment", self.augments[0])]
        return _named("augment", self.augments)

    def _parts(self) -> list[tuple[str, Spec]]:
        return [*self._samplers(), *_named("features", self.space.features), ("model", self.space.model)]


def _named(prefix: str, specs: Sequence[Spec]) -> list[tuple[str, Spec]]:
    return [(f"{prefix}__{name}", spec) for name, spec in zip(default_names(specs), specs, strict=True)]


def _short_name(augment: Spec) -> str:
    """Write an augmentation as one word: ``gan`` for ``ConditionalGAN``, ``classic`` for ``ClassicAugmentation``."""
    name = augment.class_name.removesuffix("Augmentation") or "Augmentation"
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name)
    return str((words or [name])[-1]).lower()


def _one_sampler(made: Mapping[str, Any]) -> Any:
    """Give the sampler among objects by their names, or several as one, or None."""
    from fmnist_bench.pipeline import Augmentations

    found = [(name.removeprefix("augment__"), part) for name, part in made.items() if name.startswith("augment")]
    return Augmentations(found) if len(found) > 1 else found[0][1] if found else None


RUN_REFITS = NO, NETWORKS = "no", "networks"


@dataclass(frozen=True)
class EnsembleConfig:
    """How the ensemble is chosen: `max_steps` of greedy selection, of the best `per_study` trials of each study.

    Attributes
    ----------
    per_study : int
        So many models of each study are kept, at least 1.
    max_latency : float or None
        Milliseconds that the members together may take to predict a row, above 0; no limit by default.
    refit : str
        One of `RUN_REFITS`: whether networks that train long learn from the validation rows as well, once these have
        scored them. Official validation rows only ever choose.
    """

    max_steps: int = 25
    per_study: int = 3
    max_latency: float | None = None
    refit: str = NETWORKS


@dataclass(frozen=True)
class DistillConfig:
    """How the ensemble teaches a small network, once it is chosen.

    Attributes
    ----------
    student : SearchSpace
        A network without any range: one configuration.
    share : float
        Of the budget in which all students learn, above 0 to 0.5.
    synthetic : bool
        Whether one more student learns from synthetic images, too, which a GAN of the run draws.
    """

    student: SearchSpace
    share: float = 0.1
    synthetic: bool = False

    @property
    def students(self) -> tuple[Study, ...]:
        """The network that is taught, its twin that is not, and perhaps one that sees synthetic images."""
        names = STUDENTS if self.synthetic else STUDENTS[:2]
        return tuple(Study(replace(self.student, name=name)) for name in names)


@dataclass(frozen=True)
class Benchmark:
    """What is compared: data set, split, seed, budget, studies, ensemble.

    Attributes
    ----------
    valid_size : float, int or None
        Share or number of the rows that choose between models; None is the data set's own validation
        rows, or where it has none a sixth of the rows, at most `MOST_VALIDATION`.
    resize, skip_unreadable : int or None, bool
        How the images are read, see `fmnist_bench.data.dataset.load_dataset`.
    distill : DistillConfig or None
        None teaches nobody.
    """

    name: str
    data: str = "fashion-mnist"
    rows: int | None = None
    valid_size: float | None = None
    seed: int = 0
    resize: int | None = None
    skip_unreadable: bool = False
    budget: float | None = DEFAULT_BUDGET
    trials: int | None = None
    spaces: tuple[SearchSpace, ...] = ()
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    distill: DistillConfig | None = None

    @property
    def studies(self) -> tuple[Study, ...]:
        """The studies over every search space."""
        return tuple(study for space in self.spaces for study in space.studies)

    @property
    def students(self) -> tuple[Study, ...]:
        """What learns from the ensemble, and beside it; nobody as a rule."""
        return () if self.distill is None else self.distill.students

    def for_rows(self, n_rows: int, n_classes: int) -> "Benchmark":
        """Leave out rungs that would learn next to nothing from so many train rows, but those that Hyperband needs."""

        def fitting(space: SearchSpace) -> SearchSpace:
            bands = space.engine.oracle == "hyperband"
            return space if bands else replace(space, fidelity=space.fidelity.for_rows(n_rows, n_classes))

        return replace(self, spaces=tuple(map(fitting, self.spaces)))

    def with_compressing(self, names: Collection[str]) -> "Benchmark":
        """Let the search spaces of these `names`, and no others, have models that compress their schedules."""
        spaces = (replace(space, compresses_schedule=space.name in names) for space in self.spaces)
        return replace(self, spaces=tuple(spaces))

    @property
    def reading(self) -> dict[str, Any]:
        """How its images are read, as arguments of `load_dataset`; none where they are as a rule."""
        chosen = {"resize": self.resize, "skip_unreadable": self.skip_unreadable}
        return {name: value for name, value in chosen.items() if value is not None and value is not False}

    def digest(self) -> str:
        """Short hash of all that a search depends on: not of budget, number of trials, limit of latency, students."""
        content = asdict(replace(self, budget=None, trials=None, distill=None))
        del content["ensemble"]["max_latency"], content["distill"]
        del content["resize"], content["skip_unreadable"]  # the fingerprint knows
        for space in content["spaces"]:
            del space["compresses_schedule"]  # follows from the class
        return digest_of(json.dumps(content, sort_keys=True, default=str))[:8]
