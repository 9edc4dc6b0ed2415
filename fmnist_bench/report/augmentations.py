"""With against without an augmentation: trials of the search that had equal fidelities, on the validation rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from fmnist_bench.report import metrics
from fmnist_bench.storage.results import PREPARATION
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import TRAIN, Trial, best

Records = Mapping[str, Sequence[Trial]]
Parts = Mapping[str, Sequence[str]]


class Augmented(NamedTuple):
    """The best trials without and with an augmentation, at the same fidelity; their difference on validation rows."""

    without: Trial
    augmented: Trial
    difference: metrics.McNemarResult


def compare(run: Run, records: Records, parts: Parts) -> Iterator[Augmented]:
    """Give the best trial without and with each augmentation, and the paired difference of their accuracies.

    Both are the best on the highest rung that both studies have completed. Networks that the train phase trained do not
    count: these are of one study alone, and had more time.

    Parameters
    ----------
    run : Run
    records : mapping of str to sequence of Trial
        Of each study.
    parts : mapping of str to sequence of str
        Search space and augmentations of each study with an augmentation.
    """
    for less, more in pairs(list(records), parts):
        tried = [[r for r in records[study] if _is_compared(r)] for study in (less, more)]
        if both := set.intersection(*({record.rung for record in found} for found in tried)):
            without, augmented = (best((r for r in found if r.rung == max(both)), 1)[0] for found in tried)
            predicted = [run.valid_probabilities(r.study, r.number).argmax(axis=1) for r in (augmented, without)]
            yield Augmented(without, augmented, metrics.mcnemar(run.y_valid(), *predicted))


def pairs(studies: Sequence[str], parts: Parts) -> list[tuple[str, str]]:
    """Give each two studies over one space of which the second has one augmentation more."""
    return [(less, more) for more in studies for less in studies if _is_one_less(less, more, parts)]


def _is_one_less(less: str, more: str, parts: Parts) -> bool:
    (space, *fewer), (other, *augments) = (parts.get(study, (study,)) for study in (less, more))
    return space == other and len(fewer) + 1 == len(augments) and set(fewer) < set(augments)


def _is_compared(record: Trial) -> bool:
    return record.is_complete and record.phase != TRAIN and record.number != PREPARATION
