"""How long ensemble and report will take, from what the trials have taken on this machine until now."""

import statistics
from collections.abc import Sequence

from fmnist_bench._utils.environment import cores
from fmnist_bench.config.study import END_SECONDS
from fmnist_bench.report.occlusion import MOST_ROWS
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.trial import Trial, best

TEST_ROWS = 10_000  # for the time that predicting them takes; how many there are is unknown until the report
WRITE_SECONDS = 8.0  # of `END_SECONDS`: figures and pages
END_CPU_SECONDS = 12.0  # of `END_SECONDS`: they take longer where others use the processor
NETWORK_SECONDS = 15.0  # to predict the test rows with a network that has not been tried yet
MORE_MEMBERS = 3  # models of the ensemble that are not the best of their study
LEAST_CPU, MOST_CROWDING = 0.2, 4.0  # seconds of a fit below which it tells nothing; a bound


def end_seconds(studies: Sequence[StudySearch], per_study: int, n_validation: int, n_test: int) -> float:
    """Seconds of the whole end phase.

    Models that the report needs start, load and predict test rows and occluded copies; figures and pages are made.
    `per_study` is the number of kept models of a study.
    """
    winners = [record for study in studies for record in study.best(1)]
    rest = best([record for study in studies for record in study.best(per_study)[1:]], MORE_MEMBERS)
    ratio = (MOST_ROWS + n_test) / n_validation
    each = [r.fixed_seconds + (ratio - 1) * r.result.predict_seconds for r in (*winners, *rest)]
    each += [NETWORK_SECONDS for s in studies if s.study.space.trains_network and s.running and not s.best(1)]
    report = END_SECONDS + END_CPU_SECONDS * (_crowding(winners) - 1)
    return report + max(sum(each) / cores(), max(each, default=0.0))


def writing_seconds(studies: Sequence[StudySearch]) -> float:
    """Seconds of the end phase that figures and pages take."""
    return WRITE_SECONDS * _crowding([record for study in studies for record in study.best(1)])


def _crowding(records: Sequence[Trial]) -> float:
    """How many times longer than alone what computes takes here: by what trials waited for a processor."""
    waits = [r.result.fit_seconds / r.result.fit_cpu_seconds for r in records if r.result.fit_cpu_seconds > LEAST_CPU]
    return min(max(statistics.median(waits or [1.0]), 1.0), MOST_CROWDING)
