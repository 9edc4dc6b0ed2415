"""The search over one study: its history, and an asker that makes trials of what it would try next."""

from collections.abc import Sequence
from typing import Any

from fmnist_bench.config.study import Study
from fmnist_bench.search.allocation import LATE_FACTOR, StudyClaim
from fmnist_bench.search.history import StudyHistory
from fmnist_bench.search.optuna_sampler import OptunaAsker
from fmnist_bench.search.proposals import Proposal, proposals
from fmnist_bench.search.sampler import Ask, Asker
from fmnist_bench.search.successive_halving import AS_IT_STANDS
from fmnist_bench.storage.records import TrialRecord
from fmnist_bench.storage.results import NO_WEIGHTS, PREPARATION
from fmnist_bench.storage.run_folder import Run

SHORTEST = 1.0  # seconds; less than this is not worth starting a trial in


class StudySearch(StudyHistory):
    """The history of a study that goes on.

    Parameters
    ----------
    study : Study
    run : Run
    asker : Asker
    thorough : bool
        Run every trial as its study says, without the ladder.
    plain : StudySearch or None
        Of the same study without its augmentation.
    seed : int
        Of every model, unless it is trained again.
    speedup : float
        How many times faster a network learns with all cores than with those of one worker, 1 or more.
    """

    def __init__(
        self,
        study: Study,
        run: Run,
        asker: Asker,
        thorough: bool = False,
        plain: "StudySearch | None" = None,
        seed: int = 0,
        speedup: float = 1.0,
    ) -> None:
        super().__init__(study, thorough, plain, seed, speedup)
        self._asker = asker
        told = asker.told()
        for record in run.records(study.name):
            if record.number == PREPARATION:
                self.take_preparation(record, ("interrupted", "timeout"))  # there may be more time now
            elif record.number in told and record.rung <= self.ladder.top:  # others may have changed the record
                self.take(record, ("interrupted", NO_WEIGHTS))  # there may be some now

    def propose(self, left: float) -> Proposal | None:
        """Say what would be tried next, of what is likely to end within `left` seconds."""
        if left < SHORTEST:
            return None
        return next((each for each in proposals(self, left, self._asker.climbs) if each.seconds <= left), None)

    def claim(self, proposal: Proposal | None, fair: float) -> StudyClaim:
        """Say what `next_study` must know; `fair` seconds are an even share of the time that is left.

        A default configuration that is likely to take longer has to earn its time like any other trial, unless
        the study has no result yet; and so has what an augmentation must learn.
        """
        space, promise, spent = self.study.space.name, self.ladder.promise(), self.spent
        if proposal is None:
            return StudyClaim(space, promise, spent, self.count(), ready=False)
        fits = proposal.seconds <= fair or promise == 0
        first = (proposal.waited or self.count() == 0) and not proposal.preparation and fits
        seconds = fair / LATE_FACTOR if proposal.preparation else proposal.seconds  # learning keeps to its share
        quick = self.study.space.is_quick
        return StudyClaim(space, promise, spent, self.count(), seconds, first, slack=proposal.slack, quick=quick)

    def ask(self, proposal: Proposal) -> Ask | None:
        """Begin a trial; None where no configuration is left that has not been tried."""
        if proposal.preparation:
            ask: Ask | None = Ask(PREPARATION, {}, rung=AS_IT_STANDS)
        elif proposal.parameters is None:
            ask = self._asker.ask(self.ladder, self.first_rung)
        else:
            ask = self._asker.repeat(proposal.parameters, proposal.default, proposal.rung)
        if ask is None:
            self.exhausted = True
            return None
        as_proposed = ask.rung == proposal.rung  # KerasTuner's Hyperband chooses the rung itself
        seconds = proposal.seconds if as_proposed else self.ladder.seconds(ask.config, ask.rung)
        self.begin(ask, seconds, proposal.all_cores)
        return ask

    def should_prune(self, ask: Ask, step: int, score: float) -> bool:
        """Take a score of a trial that is training and say whether to stop it; a default configuration never is."""
        return ask.number != PREPARATION and self._asker.should_prune(ask, step, score)

    def tell(self, record: TrialRecord) -> None:
        """Take the answer to a question; an interrupted trial is tried again."""
        if record.number != PREPARATION:
            self._asker.tell(record)
        self.take(record)

    def left_running(self) -> list[Ask]:
        """Trials that an earlier call has asked for and not told."""
        return self._asker.left_running()

    def fidelity(self, ask: Ask) -> dict[str, Any]:
        """What the rung of a trial sets, beside its parameters."""
        return {} if ask.rung == AS_IT_STANDS else self.study.space.fidelity.at(ask.rung)


def make_study_search(
    study: Study, run: Run, seed: int, thorough: bool, plain: StudySearch | None = None, speedup: float = 1.0
) -> StudySearch:
    """Open the search over a study with the asker that its study names."""
    if study.space.engine.name == "keras-tuner":
        from fmnist_bench.search.keras_tuner_sampler import OracleAsker

        return StudySearch(study, run, OracleAsker(study, run, seed), thorough, plain, seed, speedup)
    asker = OptunaAsker(study, run, seed, study.space.engine.oracle)
    return StudySearch(study, run, asker, thorough, plain, seed, speedup)


def make_study_searches(
    studies: Sequence[Study], run: Run, seed: int, thorough: bool, speedup: float = 1.0
) -> list[StudySearch]:
    """Open every study; the plain one over a space stands before those with an augmentation."""
    searches: dict[str, StudySearch] = {}
    for study in studies:
        plain = searches.get(study.space.name) if study.augmented else None
        searches[study.name] = make_study_search(study, run, seed, thorough, plain, speedup)
    return list(searches.values())
