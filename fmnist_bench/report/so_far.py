"""What the ensemble would have been worth if the run had ended earlier, on the validation rows."""

from collections.abc import Mapping, Sequence

import numpy as np

from fmnist_bench.ensemble.selection import Floats, fit_temperature, greedy_selection, weighted_mean, with_temperature
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import Trial, best

MOMENTS = 16  # at most, at which an ensemble is chosen; each takes a tenth of a second
STEPS = 10  # of greedy selection


def ensembles_so_far(run: Run, records: Mapping[str, Sequence[Trial]]) -> list[tuple[float, float]]:
    """Choose an ensemble of the best trial of each study at moments when one of these was new.

    It is chosen as at the end of a run, but in fewer steps, from one trial of each study. Its accuracy is that of the
    rows that it is chosen on, so it flatters as much as that of the ensemble itself.

    Parameters
    ----------
    run : Run
    records : mapping of str to sequence of Trial
        Of each study.

    Returns
    -------
    list of (float, float)
        Seconds since the run began, and accuracy; empty where no trial is complete.
    """
    y, tempered = run.y_valid(), dict[tuple[str, int], Floats]()
    found = []
    for seconds, leaders in _moments([r for rows in records.values() for r in rows]):
        for record in leaders:
            if (key := (record.study, record.number)) not in tempered:
                probabilities = run.valid_probabilities(*key)
                tempered[key] = with_temperature(probabilities, fit_temperature(probabilities, y))
        members = np.stack([tempered[r.study, r.number] for r in leaders])
        together = weighted_mean(members, greedy_selection(members, y, STEPS))
        found.append((seconds, float((together.argmax(axis=1) == y).mean())))
    return found


def errors_in_time(points: Sequence[tuple[float, float]], end: float) -> tuple[float, float] | None:
    """Give the error of the best ensemble by half of the time, and by all of it.

    Parameters
    ----------
    points : sequence of (seconds, accuracy)
        Of `ensembles_so_far`, at least one.
    end : float
        Seconds when the last trial ended.

    Returns
    -------
    (float, float) or None
        None where there was no ensemble by half of the time.

    Examples
    --------
    >>> errors_in_time([(10, 0.75), (40, 0.875), (90, 0.9375)], 100)
    (0.125, 0.0625)
    """
    early = [accuracy for seconds, accuracy in points if seconds <= end / 2]
    return (1 - max(early), 1 - max(accuracy for _, accuracy in points)) if early else None


def _moments(records: Sequence[Trial]) -> list[tuple[float, list[Trial]]]:
    """Give times, at most `MOMENTS`, first and last among them, and the best complete trial of each study by then."""
    leaders: dict[str, Trial] = {}
    moments = []
    for record in sorted((r for r in records if r.is_complete), key=lambda r: r.ended):
        before = leaders.get(record.study)
        if before is None or best([before, record], 1) == [record]:
            leaders[record.study] = record
            moments.append((record.ended, list(leaders.values())))
    kept = np.unique(np.linspace(0, len(moments) - 1, min(MOMENTS, len(moments))).round().astype(int))
    return [moments[i] for i in kept]
