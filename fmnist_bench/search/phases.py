"""Which trial is next: look at every family, search, train networks with the rest of the time."""

import math
import time
from collections.abc import Callable, Sequence

from fmnist_bench.search.allocation import Clock, next_study
from fmnist_bench.search.plan import LEAST_BOX, box_seconds, search_seconds
from fmnist_bench.search.study import StudySearch
from fmnist_bench.search.training import (
    Chosen,
    Planned,
    about,
    as_planned,
    choose_study,
    plan_training,
    resume_training,
)
from fmnist_bench.storage.results import PREPARATION
from fmnist_bench.storage.trial import LOOK, TRAIN, Trial
from fmnist_bench.trials.local import Workers

LIMIT_FACTOR, LEAST_LIMIT = 3.0, 30.0  # times what is expected, and seconds, that a trial may take
FIRST_SHARE = 0.5  # of the time left, for a trial of unknown cost, or for a family that promises more than networks
SHORTEST = 1.0  # seconds; less than this is not worth starting a trial in
WAITED = 1.25  # times the wait of a training for places, what is tried meanwhile may take
PLANS = 2  # times that networks are chosen for the train phase, if those that were chosen first have failed


class Phases:
    """The phases of a run, as the rule that chooses its next trial.

    Parameters
    ----------
    studies : sequence of StudySearch
    clock : Clock
    workers : Workers
    seed : int
    trials : int or None
        Of each study; None leaves their number to the clock.
    write_down : callable
        Gets what is decided for the train phase, and a line about each network, before any is trained.
    planned : sequence of dict
        What an earlier call decided: networks of it that were stopped or not begun come first.
    is_saved : callable
        Whether an earlier call has left a checkpoint of such a network.
    """

    def __init__(
        self,
        studies: Sequence[StudySearch],
        clock: Clock,
        workers: Workers,
        seed: int,
        trials: int | None,
        write_down: Callable[[list[Planned], list[str]], None],
        planned: Sequence[Planned],
        is_saved: Callable[[Trial], bool],
    ) -> None:
        self.studies, self.clock, self.workers, self.seed = studies, clock, workers, seed
        self.trials, self._write_down = trials, write_down
        self._planned, self._is_saved = list(planned), is_saved
        self._trainings: list[Chosen] = []  # networks that wait for their turn in the train phase
        self._plans = 0

    def free_places(self) -> int:
        """Trials that could be begun now."""
        taken = sum(trial.places for search in self.studies for trial in search.running.values())
        return self.workers.capacity - taken

    def next(self, reserve: float) -> Chosen | None:
        """Choose the next trial; look, search, train, and search again where networks have left time.

        `reserve` are the seconds that the end phase needs. None where nothing fits, or all waits for what is running.
        """
        left = self.clock.left(reserve)
        if left is not None and left < SHORTEST:
            return None
        if left is None or self.is_counted:
            return self._next_counted(math.inf if left is None else left)
        box = box_seconds((self.clock.budget or 0.0) - reserve)
        if (found := self._look(left, box)) is not None:
            return found
        if not self._trains_networks():
            return self._search(left, max(left, box) if self._trained() else box)
        network, before = choose_study(self.studies), self._before_training(reserve)
        short = network is not None and (not network.has_room(box) or self._is_searched(network, before, box))
        found = self._search(before, box, short)
        best = max(self.studies, key=lambda search: search.promise)
        if found is None and not best.is_network:
            found = self._compare(FIRST_SHARE * left, box, [best])
        if found is None and before > 0 and self._is_looking():  # it is open which network is trained
            return None
        return found or self._train(left) or self._beside_training(left, box)

    def _next_counted(self, left: float) -> Chosen | None:
        """Choose a study with the fewest trials, slow and quick ones as in `_look`; each gets as many."""
        due = [search for search in self.studies if search.count() < (self.trials or 1)]
        pairs, quick = self._proposals(due, left, math.inf), self._wants_quick() or left < LEAST_BOX
        return min(pairs, key=lambda pair: (pair[0].count(), pair[0].study.space.is_quick != quick), default=None)

    def _proposals(
        self,
        studies: Sequence[StudySearch],
        left: float,
        box: float,
        propose: Callable[[StudySearch, float, float], Trial | None] = StudySearch.search,
    ) -> list[Chosen]:
        """What the studies would try next; one augmentation learns at a time, others may find in a file what it did."""
        if left < SHORTEST:
            return []
        found = [(search, trial) for search in studies if (trial := propose(search, left, box)) is not None]
        if any(PREPARATION in search.running for search in self.studies):
            found = [(search, trial) for search, trial in found if trial.number != PREPARATION]
        return found

    def _look(self, left: float, box: float) -> Chosen | None:
        """Choose the next first look: one worker takes the slow families, the others the quick ones.

        So there is an ensemble within the first minute. The quick ones come first with one worker, and where a network
        would not end.
        """
        looks = [(search, trial) for search in self.studies if (trial := search.look(box)) is not None]
        quick = self._wants_quick() or left < box
        return min(looks, key=lambda pair: pair[0].study.space.is_quick != quick, default=None)

    def _wants_quick(self) -> bool:
        """Whether a quick family is next: a slow one has a worker already, or there is one worker alone."""
        busy = any(search.running for search in self.studies if not search.study.space.is_quick)
        return busy or self.workers.capacity == 1

    def _trains_networks(self) -> bool:
        """Whether the train phase is to come, or going on: a network has had its look, or is having it."""
        if self._trainings or self._is_training():
            return True
        return (
            self._plans < PLANS
            and not self._trained()
            and any(
                search.is_network and search.plain is None and (search.running or search.best(1))
                for search in self.studies
            )
        )

    def _is_training(self) -> bool:
        running = (trial for search in self.studies for trial in search.running.values())
        return any(trial.phase == TRAIN for trial in running)

    def _trained(self) -> bool:
        """Whether the train phase has given a network in this call."""
        return self._plans > 0 and any(
            record.phase == TRAIN and record.is_complete for s in self.studies for record in s.records
        )

    def _search(self, left: float, box: float, short: bool = False) -> Chosen | None:
        """Choose what is likely to end in time: first each family on all rows, then by what the studies promise.

        A `short` run compares the families beside the network that it is going to train, and that is all.
        """
        to_be_trained = choose_study(self.studies) if short else None
        found = self._compare(left, box, [search for search in self.studies if search is not to_be_trained])
        if short or found is not None:
            return found
        pairs = self._proposals(self.studies, left, box)
        if not pairs:
            return None
        ready = {search.study.name: (search, trial) for search, trial in pairs}
        claims = [search.claim(ready=search.study.name in ready) for search in self.studies]
        return ready[self.studies[next_study(claims)].study.name]

    def _is_searched(self, network: StudySearch, before: float, box: float) -> bool:
        """Whether the next trial of a network no longer fits into the search: what is left of that is for training."""
        busy = any(search.running for search in self.studies if search.is_network)
        return not busy and network.search(before, box) is None and network.search(math.inf, box) is not None

    def _compare(self, left: float, box: float, among: Sequence[StudySearch]) -> Chosen | None:
        """Choose the most promising family that is to be tried on all rows.

        In a run of a few minutes a network may make less of them than the best family: that one has half of the time.
        """
        first = self._proposals(among, left, box, StudySearch.compare)
        return max(first, key=lambda pair: pair[0].promise, default=None)

    def _train(self, left: float) -> Chosen | None:
        """Choose the next network of the train phase; None where it waits for places."""
        if not self._trainings and (self._is_training() or not self._plan(left)):
            return None
        return self._trainings.pop(0) if self._trainings[0][1].places <= self.free_places() else None

    def _beside_training(self, left: float, box: float) -> Chosen | None:
        """Choose what uses places that the train phase leaves free, or that the next training waits for.

        Where too little time is left for any training, that is all of them.
        """
        if self._trainings:
            return self._search(WAITED * self._wait_for(self._trainings[0][1].places), box, short=True)
        return self._search(left, box) if self._knows_network() else None

    def _knows_network(self) -> bool:
        """Whether a network has had its look; else the look goes on."""
        return any(search.is_network and search.best(1) for search in self.studies)

    def _is_looking(self) -> bool:
        """Whether a network is having its look."""
        running = [trial for search in self.studies if search.is_network for trial in search.running.values()]
        return any(trial.phase == LOOK for trial in running)

    def _plan(self, left: float) -> bool:
        """Decide which networks are trained, and write it down before they are."""
        if not self._knows_network():
            return False
        self._plans += 1
        places = self._places_for_training(left)
        now = self.clock.elapsed
        again = resume_training(self._planned, self.studies, now, left, places, self.workers.speedup, self._is_saved)
        self._trainings = again or plan_training(self.studies, now, left, places, self.workers.speedup, self.seed)
        if not again:
            self._planned = [as_planned(trial) for _, trial in self._trainings]
        self._write_down(self._planned, [about(trial) for _, trial in self._trainings])
        return bool(self._trainings)

    def _places_for_training(self, left: float) -> int:
        """All places, where waiting for them leaves more place-seconds than those that are free now have."""
        free, capacity = self.free_places(), self.workers.capacity
        return capacity if (left - self._wait_for(capacity)) * capacity > left * free else free

    def _wait_for(self, places: int) -> float:
        """Seconds after which so many places are likely to be free."""
        running = [trial for search in self.studies for trial in search.running.values()]
        free = self.free_places()
        for trial in sorted(running, key=lambda trial: trial.started + trial.seconds):
            free += trial.places
            if free >= places:
                return trial.started + trial.seconds - time.monotonic()
        return 0.0

    @property
    def is_counted(self) -> bool:
        """Whether each study gets a number of trials instead of a part of the time."""
        return self.trials is not None or self.clock.budget is None

    def limit(self, trial: Trial, reserve: float) -> float | None:
        """Seconds that a trial may take: one that goes wrong must not use up the time of the others.

        What takes longer than was expected may go on while the search does: killed, it would have been for nothing.
        """
        left = self.clock.left(reserve)
        if left is None or self.is_counted:
            return left
        if trial.until is not None:
            return trial.until - self.clock.elapsed
        known = trial.seconds or trial.limit
        expected = FIRST_SHARE * left if known is None else LIMIT_FACTOR * known
        return min(left, max(expected, LEAST_LIMIT, self._before_training(reserve)))

    def _before_training(self, reserve: float) -> float:
        """Seconds until the search has had its share of the time."""
        return search_seconds((self.clock.budget or 0.0) - reserve) - self.clock.elapsed
