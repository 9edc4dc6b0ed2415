"""What the epochs of a study's network cost on this machine, from the trials that have made some."""

from collections.abc import Iterable

from fmnist_bench.config.fidelity import EPOCHS, ROWS
from fmnist_bench.storage.trial import TRAIN, Trial


def epoch_seconds(records: Iterable[Trial]) -> float:
    """Seconds that an epoch of all train rows takes with one place; 0 where no trial is complete.

    From the trial of most epochs, the last of these: the fewer there are, the more of its seconds built a graph.
    """
    longest = max(reversed(_searched(records)), key=_epochs, default=None)
    return 0.0 if longest is None else (longest.result.fit_seconds - longest.result.embed_seconds) / _epochs(longest)


def embed_seconds(records: Iterable[Trial]) -> float:
    """Seconds that a frozen part takes for all train rows; a trial that found in a file what it computes says less."""
    return max((r.result.embed_seconds / r.fidelity.get(ROWS, 1.0) for r in _searched(records)), default=0.0)


def _searched(records: Iterable[Trial]) -> list[Trial]:
    """Complete trials of look and search that made epochs."""
    return [r for r in records if r.is_complete and r.phase != TRAIN and EPOCHS in r.fidelity]


def _epochs(record: Trial) -> float:
    """Epochs of all train rows that a trial has made."""
    return float(record.fidelity.get(ROWS, 1.0) * record.fidelity[EPOCHS] * record.result.schedule_share)
