"""The train phase: which networks get the rest of the budget, for how long, on how many cores."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fmnist_bench.config.fidelity import EPOCHS
from fmnist_bench.config.study import SEED
from fmnist_bench.search.epochs import embed_seconds, epoch_seconds
from fmnist_bench.search.plan import LEAST_TRAINING, LONGEST, MANY_EPOCHS, rung_for, share_out
from fmnist_bench.search.study import StudySearch
from fmnist_bench.storage.trial import TRAIN, Trial

WITH_AUGMENTATION = 0.005  # of accuracy that an augmentation must have gained in the search to be trained with
CLOSE = 0.01  # of accuracy that another architecture may be behind the best one, on a rung that both have completed
STOPPED = ("interrupted", "crashed")  # statuses of a training that goes on from its checkpoint
Planned = dict[str, Any]  # a network of the plan, as run.json keeps it: study, parameters, default, rung, fine_tune
Chosen = tuple[StudySearch, Trial]


def as_planned(trial: Trial) -> Planned:
    """Give what a later call needs to go on with a training."""
    parameters = dict(trial.parameters)
    network = {"study": trial.study, "parameters": parameters, "default": trial.default, "rung": trial.rung}
    return {**network, "fine_tune": trial.fine_tune}


def about(trial: Trial) -> str:
    """Say in a line what is trained, for how long, on how many places."""
    where = f" x {trial.places} cores" if trial.places > 1 else ""
    return f"{trial.study} ({trial.default or 'best configuration'}), {trial.seconds:.0f} s{where}"


def resume_training(
    planned: Sequence[Planned],
    studies: Sequence[StudySearch],
    now: float,
    left: float,
    places: int,
    speedup: Callable[[int], float],
    is_saved: Callable[[Trial], bool],
) -> list[Chosen]:
    """Go on with networks that an earlier call planned and that were stopped or not begun, in all of the time.

    One that has a checkpoint (`is_saved`) goes on however little that is; one that begins anew needs `LEAST_TRAINING`.
    """
    searches = {search.study.name: search for search in studies}
    known = [(searches[one["study"]], one) for one in planned if one["study"] in searches]
    wanted = [(search, _planned_training(search, one)) for search, one in known]
    missing = [pair for pair in wanted if _is_missing(*pair) and (left >= LEAST_TRAINING or is_saved(pair[1]))]
    each = max(1, places // max(1, len(missing)))
    each = each if speedup(each) > 1 else 1
    return _share_out(missing, now, left, places, each)


def _planned_training(search: StudySearch, one: Planned) -> Trial:
    return _as_training(search, one["parameters"], one["default"], one["rung"], one.get("fine_tune", False))


def _is_missing(search: StudySearch, training: Trial) -> bool:
    """Whether no training of this network has come to an end of its own."""
    ended = [r for r in search.records if r.phase == TRAIN and r.status not in STOPPED]
    return all((dict(r.parameters), r.rung) != (dict(training.parameters), training.rung) for r in ended)


def plan_training(
    studies: Sequence[StudySearch],
    now: float,
    left: float,
    places: int,
    speedup: Callable[[int], float],
    seed: int,
) -> list[Chosen]:
    """Decide which networks are trained in the `left` seconds, by the validation rows and what an epoch costs here.

    Parameters
    ----------
    studies : sequence of StudySearch
    now : float
        Seconds since the run began.
    left : float
        Seconds until the last network must have ended.
    places : int
        Trials that may run at once.
    speedup : callable
        How many times faster a network learns with so many places than with one.
    seed : int
        Of the run; a configuration that is trained twice gets the next one.

    Returns
    -------
    list of (StudySearch, Trial)
        In the order in which they begin; empty where there is no network or no time.
    """
    chosen = choose_study(studies)
    if chosen is None or left < LEAST_TRAINING:
        return []
    record = chosen.best(1)[0]
    seconds = max(left - record.fixed_seconds - embed_seconds(chosen.records), 1.0)
    n, each, epochs = share_out(seconds / max(epoch_seconds(chosen.records), 1e-9), places, speedup)
    how: dict[str, Any] = {"rung": _rung(chosen, epochs), "fine_tune": epochs >= MANY_EPOCHS}
    found = choose_configurations(chosen, n, seed)
    wanted = [(chosen, _as_training(chosen, parameters, name, **how)) for parameters, name in found]
    return _share_out(wanted, now, left, places, each)


def choose_study(studies: Sequence[StudySearch]) -> StudySearch | None:
    """Give the study whose networks are trained; one with an augmentation must have gained by it at equal time."""
    plain = [s for s in studies if s.is_network and s.plain is None and s.best(1)]
    if not plain:
        return None
    chosen = max(plain, key=lambda s: s.halving.promise())
    rivals = [s for s in studies if s.plain is chosen and _gain(s, chosen) > WITH_AUGMENTATION]
    return max(rivals, key=lambda s: _gain(s, chosen), default=chosen)


def _gain(augmented: StudySearch, plain: StudySearch) -> float:
    """Difference of the best accuracies on the highest rung that both have completed; below 0 where there is none."""
    both = set.intersection(*({trial.rung for trial in s.halving.complete} for s in (augmented, plain)))
    if not both:
        return -1.0
    with_it, without = (
        max(_accuracy(t) for t in s.halving.complete if t.rung == max(both)) for s in (augmented, plain)
    )
    return with_it - without


def choose_configurations(chosen: StudySearch, n: int, seed: int) -> list[tuple[Mapping[str, Any], str]]:
    """Give parameters and names of `n` networks: the best configuration, then others that are nearly as good.

    A configuration that only had a first look does not stand before a default one: a look is too short to tell. Where
    there are too few the best ones are trained again with other seeds: networks that differ in their architecture err
    most differently, those that differ in their seed alone still do (Lakshminarayanan et al., "Deep Ensembles", 2017).
    """
    complete = [r for r in chosen.records if r.is_complete and r.phase != TRAIN]
    complete.sort(key=_worth, reverse=True)
    of_first = {r.rung: _accuracy(r) for r in complete if r.parameters == complete[0].parameters}
    near = [r for r in complete if _tells(r) and _accuracy(r) >= of_first.get(r.rung, math.inf) - CLOSE]
    pool: list[Trial] = []
    for record in near or complete[:1]:
        if len(pool) < n and all(record.parameters != other.parameters for other in pool):
            pool.append(record)
    found: list[tuple[Mapping[str, Any], str]] = []
    for i in range(n):
        record, again = pool[i % len(pool)], i // len(pool)
        parameters = {**record.parameters, SEED: seed + again} if again else record.parameters
        found.append((parameters, f"{record.default or record.number}{f' seed {seed + again}' if again else ''}"))
    return found


def _worth(record: Trial) -> tuple[int, bool, float]:
    return record.rung, _tells(record), _accuracy(record)


def _tells(record: Trial) -> bool:
    return bool(record.default) or record.rung > 0


def _accuracy(record: Trial) -> float:
    return record.accuracy or 0.0


def _share_out(wanted: Sequence[Chosen], now: float, left: float, places: int, each: int) -> list[Chosen]:
    """Divide the time among networks that have `each` so many places."""
    at_once = max(1, places // each)
    rounds = math.ceil(len(wanted) / at_once)
    trainings = []
    for i, (search, trial) in enumerate(wanted):
        until = now + left * (i // at_once + 1) / rounds
        trainings.append((search, replace(trial, seconds=left / rounds, places=each, until=until)))
    return trainings


def _as_training(
    search: StudySearch,
    parameters: Mapping[str, Any],
    default: str,
    rung: int,
    fine_tune: bool,
) -> Trial:
    """A training with the settings of a rung, however many epochs there will be; the clock ends its schedule."""
    trial = search.trial(parameters, default, rung)
    longest = round(LONGEST * float(search.study.space.fidelity.levels[EPOCHS][-1]))
    fidelity = {**trial.fidelity, EPOCHS: longest}
    return replace(trial, phase=TRAIN, fidelity=fidelity, fine_tune=fine_tune)


def with_epochs_made(record: Trial) -> Trial:
    """Give the record of a training those epochs that the clock left it, as a whole schedule of so many."""
    if not record.is_complete or EPOCHS not in record.fidelity:
        return record
    epochs = max(1, round(record.fidelity[EPOCHS] * record.result.schedule_share))
    whole = replace(record.result, reason="", schedule_share=1.0)
    return replace(record, fidelity={**record.fidelity, EPOCHS: epochs}, result=whole)


def _rung(search: StudySearch, epochs: float) -> int:
    """Rung of a training of so many epochs; it is on all train rows even where these are few."""
    rungs = tuple(float(value) for value in search.study.space.fidelity.levels[EPOCHS])
    return max(rung_for(epochs, rungs), search.full_rung)
