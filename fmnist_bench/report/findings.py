"""What a benchmark found, and what follows from it by counting; no text and no pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from fmnist_bench.report import metrics
from fmnist_bench.report.augmentations import Augmented
from fmnist_bench.report.contestant import Array, Contestant, Importances, Mistake, Occlusion
from fmnist_bench.storage.results import NOT_BEGUN, PREPARATION, PREPARED, ROW_STATUSES
from fmnist_bench.storage.trial import PHASES, Trial

N_MISTAKES = 12  # of each model
NORMAL_95 = 1.96  # standard errors from the mean, within which a normal variable lies in 95 % of all cases
KINDS = ("complete", PREPARED, "pruned", "failed or stopped")  # how a trial's time was spent


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that a report says.

    Parameters
    ----------
    title : str
        Heading of the report.
    class_names : tuple of str
        Names in the order of the probability columns.
    y_valid, y_test : ndarray of int, shape (n,)
        True labels, as column numbers; `y_test` is None where there are no test rows, see `measured`.
    contestants : tuple of Contestant
        One a study, in the order in which they are shown; may be empty.
    ensemble : Contestant or None
        None where no trial was complete.
    members : tuple of (study, trial, weight)
        What the ensemble is made of.
    trials : tuple of Trial
        Every trial of every study.
    environment : dict of str to str
        Machine, versions, seed, budget, command, revision.
    how_to_open : dict of str to str
        Label to command or path.
    how_to_go_on : dict of str to str
        The same for what comes next.
    temperature : float
        By which the ensemble's probabilities were scaled.
    uncalibrated : ndarray of shape (n, n_classes), or None
        The ensemble's probabilities of the test rows without that temperature.
    X : ndarray of uint8, shape (n, n_pixels), or None
        Pixels of the rows that are `measured`.
    image_shape : tuple of int
        `(height, width)` or `(height, width, 3)`.
    importances : dict of str to Importances
        Of the studies that Optuna searched.
    samples : dict of str to bytes
        Studies whose augmentation learns to synthetic images that it drew, a PNG file with a column a class.
    max_latency : float or None
        Milliseconds a row that the ensemble was allowed to take.
    parts : dict of str to tuple of str
        Search space and augmentations of each study, by its name; one that is left out is the space of that name.
    augmented : tuple of Augmented
        Each study with an augmentation against the same one without it.
    given_up : tuple of (study, trial, reason)
        Complete trials that could not be used at the end: damaged, or they cannot predict the test rows.
    so_far : tuple of (seconds, accuracy)
        What an ensemble of the trials that had ended by then reaches on the validation rows.
    ranges : dict of str to dict of str to (low, high)
        Of the searched numbers of each study.
    openings : int
        How often the test rows of the run were opened, this report included.
    examples : dict of int to ndarray of uint8
        A train row of each class, of the shape `image_shape`; empty where the train rows are not in the cache.
    occlusions : dict of str to tuple of Occlusion
        Of the most confident mistakes of each contestant that is `explained`.
    no_occlusions : str
        Why there are none.
    exported : dict of str to Any
        What is known of the file that `export` has made of the ensemble; empty where there is none.
    students : tuple of str
        Those studies whose network the ensemble has taught, and its twin that it has not.
    distillation : dict of str to Any
        What is known of the lesson: the teacher's ``seconds``, number of ``synthetic`` images, whose ``generator``.
    """

    title: str
    class_names: tuple[str, ...]
    y_valid: Array
    y_test: Array | None
    contestants: tuple[Contestant, ...]
    ensemble: Contestant | None
    members: tuple[tuple[str, int, float], ...] = ()
    trials: tuple[Trial, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    how_to_open: dict[str, str] = field(default_factory=dict)
    how_to_go_on: dict[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    uncalibrated: Array | None = None
    X: Array | None = None
    image_shape: tuple[int, ...] = ()
    importances: dict[str, Importances] = field(default_factory=dict)
    samples: dict[str, bytes] = field(default_factory=dict)
    max_latency: float | None = None
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    augmented: tuple[Augmented, ...] = ()
    given_up: tuple[tuple[str, int, str], ...] = ()
    so_far: tuple[tuple[float, float], ...] = ()
    ranges: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    openings: int = 0
    examples: dict[int, Array] = field(default_factory=dict)
    occlusions: dict[str, tuple[Occlusion, ...]] = field(default_factory=dict)
    no_occlusions: str = ""
    exported: dict[str, Any] = field(default_factory=dict)
    students: tuple[str, ...] = ()
    distillation: dict[str, Any] = field(default_factory=dict)

    @property
    def opened(self) -> bool:
        """Whether there were test rows to open."""
        return self.y_test is not None

    @property
    def measured(self) -> str:
        """Which rows tables and figures count: the "test" rows; the "validation" rows where there are no others."""
        return "test" if self.opened else "validation"

    @property
    def part(self) -> str:
        """How the names of the scores of these rows begin."""
        return "test" if self.opened else "valid"

    @property
    def y(self) -> Array:
        """True labels of the rows that are `measured`."""
        return self.y_valid if self.y_test is None else self.y_test

    @property
    def studies(self) -> list[str]:
        """Names of the studies, those without a contestant last."""
        return list(dict.fromkeys([who.name for who in self.contestants] + [trial.study for trial in self.trials]))

    @property
    def everyone(self) -> list[Contestant]:
        """The ensemble, then a contestant for every study; one without scores for a study that has none."""
        known = {who.name: who for who in self.contestants}
        studies = [known.get(study) or self._unscored(study) for study in self.studies]
        return [self.ensemble, *studies] if self.ensemble else studies

    def _unscored(self, study: str) -> Contestant:
        trials = [trial for trial in self.trials if trial.study == study]
        counts, nothing = Counter(trial.status for trial in trials), np.empty((0, len(self.class_names)))
        seconds = sum(trial.seconds for trial in trials)
        return Contestant(study, None, {}, dict(counts), nothing, nothing, np.nan, np.nan, seconds)

    @property
    def fine_tuned(self) -> list[str]:
        """Studies of whose networks some learnt from the validation rows in the end."""
        return sorted({trial.study for trial in self.trials if trial.is_complete and trial.result.fine_tuned})

    @property
    def best_single(self) -> Contestant | None:
        """The contestant with the highest validation accuracy; the first of equals."""
        return max((who for who in self._singles if who.scored), key=self.valid_accuracy, default=None)

    @property
    def _singles(self) -> list[Contestant]:
        """Those that may be the model to use; the teacher of a student may have learnt from the validation rows."""
        return [who for who in self.contestants if who.name not in self.students]

    @property
    def choice(self) -> Contestant | None:
        """The model to use: by validation rows alone, since choosing would spend the test set.

        A single model wins a tie against the ensemble, because it is cheaper. Where the ensemble has a limit of
        latency, so have they.
        """
        singles = [who for who in self._singles if who.scored and self._is_fast(who)]
        best_single = max(singles, key=self.valid_accuracy, default=None)
        rivals = [who for who in (best_single, self.ensemble) if who and who.scored]
        return max(rivals, key=self.valid_accuracy, default=None)

    def _is_fast(self, who: Contestant) -> bool:
        return self.max_latency is None or self._predict_ms(who) <= self.max_latency

    def _predict_ms(self, who: Contestant) -> float:
        return 1000 * who.predict_seconds / len(self.y_valid)

    @property
    def pair(self) -> tuple[Contestant, Contestant] | None:
        """The best single model and the ensemble, where there are both."""
        single, ensemble = self.best_single, self.ensemble
        return (single, ensemble) if single and ensemble and ensemble.scored else None

    @property
    def rivals(self) -> list[Contestant]:
        """The ensemble and the best single model, as far as they are scored."""
        return [who for who in (self.ensemble, self.best_single) if who and who.scored]

    @property
    def explained(self) -> list[Contestant]:
        """Whose mistakes are shown: the ensemble and the best single model; one of them where they predict the same."""
        both = self.rivals
        alike = len(both) == 2 and bool((self.predicted(both[0]) == self.predicted(both[1])).all())
        return both[alike:]

    @property
    def failed(self) -> list[Trial]:
        """The trials that neither completed nor were pruned."""
        return [trial for trial in self.trials if trial.status not in ("complete", PREPARED, "pruned")]

    @property
    def preparations(self) -> list[Trial]:
        """What augmentations learnt before the first trial of their studies."""
        return [trial for trial in self.trials if trial.number == PREPARATION]

    def valid_accuracy(self, who: Contestant) -> float:
        """Give a contestant's accuracy on the validation rows."""
        return float((who.valid_probabilities.argmax(axis=1) == self.y_valid).mean())

    def scores(self, who: Contestant) -> dict[str, Any]:
        """Give a contestant's row of the leaderboard by column name; no scores where it has no predictions."""
        if who not in self._rows:
            self._rows[who] = self._row(who)
        return self._rows[who]

    @cached_property
    def _rows(self) -> dict[Contestant, dict[str, Any]]:
        """Rows that were counted: many tables and figures ask for each."""
        return {}

    def _row(self, who: Contestant) -> dict[str, Any]:
        row = {name: value for name, value in vars(who).items() if not name.endswith("probabilities")}
        row |= {status: who.n_trials.get(status, 0) for status in ROW_STATUSES}
        row["parameters"] = ", ".join(f"{name}={value}" for name, value in who.parameters.items())
        row["predict_ms"] = self._predict_ms(who)
        if not who.scored:
            return row
        measured = {"valid": (who.valid_probabilities, self.y_valid), self.part: (self.probabilities(who), self.y)}
        counted = {part: metrics.scores(*rows) for part, rows in measured.items()}
        return row | {f"{part}_{name}": share for part, found in counted.items() for name, share in found.items()}

    @property
    def uncalibrated_error(self) -> float:
        """Calibration error that the ensemble would have on the test rows without its temperature."""
        return np.nan if self.uncalibrated is None else metrics.expected_calibration_error(self.uncalibrated, self.y)

    def compare(self, first: Contestant, second: Contestant) -> metrics.McNemarResult:
        """Compare two contestants on the test rows; validation rows have chosen both, and would flatter one."""
        return metrics.mcnemar(self.y, first.test_pred, second.test_pred)

    def probabilities(self, who: Contestant) -> Array:
        """Give the probabilities of a contestant for the rows that are `measured`."""
        return who.test_probabilities if self.opened else who.valid_probabilities

    def predicted(self, who: Contestant) -> Array:
        """Give the labels that a contestant predicts for the rows that are `measured`."""
        return np.asarray(self.probabilities(who).argmax(axis=1))

    def per_class(self, who: Contestant) -> metrics.PerClass:
        """Give a contestant's precision and recall by class on the rows that are `measured`."""
        return metrics.per_class(self.y, self.predicted(who), len(self.class_names))

    def confusion(self, who: Contestant) -> NDArray[np.int64]:
        """Give a contestant's confusion matrix on the rows that are `measured`; its rows are true classes."""
        labels = range(len(self.class_names))
        return np.asarray(confusion_matrix(self.y, self.predicted(who), labels=labels), dtype=np.int64)

    def confusion_change(self, first: Contestant, second: Contestant) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Give what the second's confusion matrix has more than the first's, and where that is more than chance.

        That is where the paired difference is more than 1.96 times its standard error, as in McNemar's test.
        """
        change = self.confusion(second) - self.confusion(first)
        one, other = self.predicted(first), self.predicted(second)
        differ, n_differ = one != other, np.zeros_like(change)
        for predicted in (one, other):
            np.add.at(n_differ, (self.y[differ], predicted[differ]), 1)
        return change, np.abs(change) > NORMAL_95 * np.sqrt(n_differ)

    def mistakes(self, who: Contestant, n: int = N_MISTAKES) -> list[Mistake]:
        """Give the `n` wrong rows, of those `measured`, of which a contestant was surest, the surest first."""
        predicted, probabilities = self.predicted(who), self.probabilities(who)
        rows = np.flatnonzero(predicted != self.y)
        confidence = probabilities.max(axis=1)
        surest = rows[np.argsort(-confidence[rows], kind="stable")[:n]]
        return [
            Mistake(int(r), int(true), int(pred), float(confidence[r]), float(probabilities[r, true]))
            for r, true, pred in zip(surest, self.y[surest], predicted[surest], strict=True)
        ]

    def image(self, row: int) -> Array | None:
        """Give the picture of one of the rows `measured`, uint8 of shape `image_shape`, where the pixels are there."""
        return None if self.X is None else self.X[row].reshape(self.image_shape)

    def cpu_by_phase(self) -> dict[str, tuple[int, float, float]]:
        """Give number of trials, their processor seconds, and those of the ensemble's members, of each phase."""
        members = {(study, number) for study, number, _ in self.members}
        found = {}
        for phase in PHASES:
            trials = [trial for trial in self.trials if trial.phase == phase and trial.status != NOT_BEGUN]
            in_members = sum(trial.result.fit_cpu_seconds for trial in trials if (trial.study, trial.number) in members)
            found[phase] = len(trials), sum(trial.result.fit_cpu_seconds for trial in trials), in_members
        return {phase: row for phase, row in found.items() if row[0]}

    def seconds_by_kind(self) -> dict[str, dict[str, float]]:
        """Give the seconds that each study's trials took, by how they ended."""
        seconds = {study: dict.fromkeys(KINDS, 0.0) for study in self.studies}
        for trial in self.trials:
            kind = trial.status if trial.status in KINDS else KINDS[-1]
            seconds[trial.study][kind] += trial.seconds
        return seconds
