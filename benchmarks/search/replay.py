"""Play rules for sharing the time among studies over a table of recorded trials, ensemble included.

    python benchmarks/search/replay.py --mlruns mlruns-sharing/30-0-shipped mlruns-sharing/30-0-equal --seeds 200

The trials of long runs (parameters, rung, seconds, validation probabilities) stand in for training: whoever is given
time gets a recorded trial, at its recorded cost. The plays go over the runs in turn. Studies, ladder and rule are those
of the package. The ensemble is chosen on one half of the validation rows and scored on the other half; the test rows
are not touched.
"""

import argparse
import heapq
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import cores, machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.loader import load_benchmark, parse_duration
from fmnist_bench.config.study import Study
from fmnist_bench.ensemble.selection import greedy_selection
from fmnist_bench.search.allocation import StudyClaim, next_study
from fmnist_bench.search.proposals import COMPRESSED, Proposal
from fmnist_bench.search.sampler import Ask, Asker
from fmnist_bench.search.study import StudySearch
from fmnist_bench.search.successive_halving import Ladder
from fmnist_bench.storage.records import TrialRecord
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.trials.process import check_in_worker

LEFT_BY_A_RUNG = 0.85  # of the errors of a trial when it climbs, for the rules of expected gain
Rule = Callable[["Play", Sequence[StudyClaim]], int]


@dataclass(frozen=True)
class Table:
    """Recorded trials by study and rung, their probabilities for rows to choose by and rows to score by."""

    studies: tuple[Study, ...]
    records: Mapping[str, list[TrialRecord]]
    probabilities: Mapping[tuple[str, int], np.ndarray]
    y: np.ndarray


class ReplayAsker(Asker):
    """Answers with what was recorded: new configurations in an order drawn by the seed."""

    def __init__(self, records: Sequence[TrialRecord], rng: np.random.Generator) -> None:
        fresh = [r for r in records if not r.default and r.rung == 0]
        self._fresh = [fresh[i] for i in rng.permutation(len(fresh))]
        self._numbers = itertools.count()

    def ask(self, ladder: Ladder, rung: int) -> Ask | None:
        if not self._fresh:
            return None
        return Ask(next(self._numbers), self._fresh.pop().parameters, "", rung)

    def repeat(self, parameters: Mapping, default: str, rung: int) -> Ask:
        return Ask(next(self._numbers), parameters, default, rung)

    def should_prune(self, ask: Ask, step: int, score: float) -> bool:
        return False

    def tell(self, record: TrialRecord) -> None:
        pass

    def told(self) -> set[int]:
        return set()

    def left_running(self) -> list[Ask]:
        return []


class NoRecords:
    """A run in which nothing has happened."""

    def records(self, study: str) -> list[TrialRecord]:
        return []


def read_table(run: Run, studies: tuple[Study, ...]) -> Table:
    """Read every complete trial; seconds are those of the processor, so that a busy machine does not count."""
    records, probabilities = {}, {}
    for study in studies:
        complete = [r for r in run.records(study.name) if r.result.status == "complete"]
        records[study.name] = [replace(r, seconds=_alone(r)) for r in complete]
        for r in complete:
            probabilities[study.name, r.number] = run.valid_probabilities(study.name, r.number).astype(np.float32)
    return Table(studies, records, probabilities, run.y_valid())


def left_by_a_climb(tables: Sequence[Table]) -> list[float]:
    """Median share of its errors that a configuration keeps when it climbs a rung, of each study in which some did."""
    found = []
    for records in (records for table in tables for records in table.records.values()):
        errors = {(frozenset(r.parameters.items()), r.rung): 1 - (r.result.accuracy or 0.0) for r in records}
        ratios = [errors[c, rung + 1] / error for (c, rung), error in errors.items() if (c, rung + 1) in errors]
        found += [statistics.median(ratios)] if ratios else []
    return sorted(found)


def _alone(record: TrialRecord) -> float:
    """Seconds that a trial with one core takes on an idle machine: those of the processor."""
    result = record.result
    share = min(1.0, result.fit_cpu_seconds / result.fit_seconds) if result.fit_seconds else 1.0
    return record.seconds * share


class Play:
    """One run of a rule."""

    def __init__(self, table: Table, rule: Rule, seed: int, workers: int) -> None:
        self.table, self.rule, self.workers = table, rule, workers
        self.rng = np.random.default_rng(seed)
        half = self.rng.permutation(len(table.y))
        self.choose, self.score = half[: len(half) // 2], half[len(half) // 2 :]
        self.look = self.choose[:1500]
        self.studies = [
            StudySearch(study, NoRecords(), ReplayAsker(table.records[study.name], self.rng)) for study in table.studies
        ]
        self.source: dict[tuple[str, int], int] = {}  # of a trial here: the number of the recorded one
        self.pairs: list[tuple[StudySearch, Proposal]] = []
        self._measured: tuple[int, Mapping[str, float]] = (-1, {})

    def run(self, seconds: float) -> float:
        """Play `seconds` of search; return the ensemble's accuracy on the rows kept apart."""
        running: list[tuple[float, int, StudySearch, Ask, TrialRecord]] = []
        now, ties = 0.0, itertools.count()
        while True:
            while len(running) < self.workers and (started := self._start(seconds - now)):
                heapq.heappush(running, (now + started[2].seconds, next(ties), *started))
            if not running:
                return self._accuracy()
            now, _, search, ask, found = heapq.heappop(running)
            record = replace(
                found, number=ask.number, parameters=dict(ask.parameters), default=ask.default, rung=ask.rung
            )
            self.source[search.study.name, ask.number] = found.number
            search.tell(record)

    def _start(self, left: float) -> tuple[StudySearch, Ask, TrialRecord] | None:
        while pairs := [(s, p) for s in self.studies if (p := s.propose(left)) is not None]:
            self.pairs = pairs
            fair = left * self.workers / len(self.studies)
            search, proposal = pairs[self.rule(self, [search.claim(proposal, fair) for search, proposal in pairs])]
            if (ask := search.ask(proposal)) is not None:
                return search, ask, self._recorded(search, ask, left)
        return None

    def _recorded(self, search: StudySearch, ask: Ask, left: float) -> TrialRecord:
        """Give the trial itself, else another one of the study on the same rung; cut off where it takes too long.

        A network that would compress its schedule a little is as good as if it did not.
        """
        study = search.study.name
        same = [r for r in self.table.records[study] if r.rung == ask.rung]
        exact = [r for r in same if r.parameters == dict(ask.parameters) or (ask.default and r.default == ask.default)]
        if not same:
            return TrialRecord(study, -1, {}, ask.default, TrialResult("failed", "not recorded"), 0.0, 0.0)
        found = exact[0] if exact else same[self.rng.integers(len(same))]
        if found.seconds <= left:
            return found
        compressed = search.study.space.trains_network and COMPRESSED * found.seconds <= left
        return replace(found, result=found.result if compressed else TrialResult("timeout"), seconds=left)

    def measured(self, measure: Callable[["Play"], Mapping[str, float]]) -> Mapping[str, float]:
        """Measure what the studies are worth, once after each trial."""
        if self._measured[0] != len(self.source):
            self._measured = len(self.source), measure(self)
        return self._measured[1]

    def _pool(self, per_study: int) -> list[tuple[str, np.ndarray]]:
        """Study and probabilities of every trial that may become a member."""
        name = lambda search: search.study.name  # noqa: E731
        return [
            (name(s), self.table.probabilities[name(s), self.source[name(s), r.number]])
            for s in self.studies
            for r in s.best(per_study)
        ]

    def _accuracy(self) -> float:
        members = [probabilities for _, probabilities in self._pool(3)]
        if not members:
            return 0.0
        stack = np.stack(members)
        chosen = greedy_selection(stack[:, self.choose], self.table.y[self.choose], 15)
        mean = np.tensordot(chosen, stack[:, self.score], 1)
        return float((mean.argmax(axis=1) == self.table.y[self.score]).mean())


def equal_shares(play: Play, claims: Sequence[StudyClaim]) -> int:
    """Give the study the next trial that has had the least time."""
    return min(range(len(claims)), key=lambda i: claims[i].spent)


def halving(ratio: float) -> Rule:
    """Give the package's rule: parts of the time by the rank of the study's promise."""
    return lambda play, claims: next_study(claims, ratio)


def halving_by_accuracy(play: Play, claims: Sequence[StudyClaim]) -> int:
    """Choose as the package's rule does, but by the accuracy so far."""
    best = [max((r.result.accuracy or 0.0 for r in search.records), default=0.0) for search, _ in play.pairs]
    return next_study([replace(claim, promise=accuracy) for claim, accuracy in zip(claims, best, strict=True)])


def by_worth(measure: Callable[[Play], Mapping[str, float]], floor: float) -> Rule:
    """Give a rule that shares the time in proportion to what each study is worth to the ensemble so far."""

    def rule(play: Play, claims: Sequence[StudyClaim]) -> int:
        if any(claim.untried for claim in claims):
            return next_study(claims)
        worth = play.measured(measure)
        return min(range(len(claims)), key=lambda i: claims[i].spent / (floor + worth.get(claims[i].space, 0.0)))

    return rule


def weight(play: Play) -> dict[str, float]:
    """Weight of each study in the ensemble of the best two trials of each."""
    pool = play._pool(2)
    found = dict.fromkeys([study for study, _ in pool], 0.0)
    y = play.table.y[play.look]
    for (study, _), part in zip(pool, greedy_selection(np.stack([p[play.look] for _, p in pool]), y, 12), strict=True):
        found[study] += part
    return found


def expected_gain(noise: float, step: float) -> Rule:
    """Give a rule that goes for the expected improvement of the ensemble for each second of the study's next trial.

    A rung higher is expected to leave `step` of the errors, a new configuration as many as the study's median on that
    rung; errors scatter by `noise` of the ensemble's.
    """

    def rule(play: Play, claims: Sequence[StudyClaim]) -> int:
        if any(claim.untried for claim in claims):
            return next_study(claims)
        scores = [r.result.accuracy for s in play.studies for r in s.records if r.result.accuracy]
        now = max(1 - max(scores) - 0.006, 0.01)

        def rate(i: int) -> float:
            search, proposal = play.pairs[i]
            errors = [1 - (r.result.accuracy or 0) for r in search.records if r.result.accuracy]
            rungs = search.ladder.top - proposal.rung
            if proposal.parameters is None:
                same = [1 - (r.result.accuracy or 0) for r in search.records if r.rung == proposal.rung]
                error = statistics.median(same or errors or [0.5]) * step**rungs
            else:
                config = frozenset(proposal.parameters.items())
                own = [
                    1 - (r.result.accuracy or 0) for r in search.records if frozenset(r.parameters.items()) == config
                ]
                error = min(own or errors or [0.5]) * step
            return noise * np.log1p(np.exp((1 - error / now) / noise)) / max(proposal.seconds, 1.0)

        return max(range(len(claims)), key=rate)

    return rule


RULES: dict[str, Rule] = {
    "equal shares": equal_shares,
    "halved by rank of promise, ratio 0.7": halving(0.7),
    "halved by rank of promise, ratio 0.5": halving(0.5),
    "halved by rank of promise, ratio 0.3": halving(0.3),
    "halved by rank of promise, ratio 0.1": halving(0.1),
    "halved by rank of accuracy so far, ratio 0.5": halving_by_accuracy,
    "weight in the ensemble so far, floor 0.02": by_worth(weight, 0.02),
    "weight in the ensemble so far, floor 0.005": by_worth(weight, 0.005),
    "expected gain a second, noise 0.06": expected_gain(0.06, LEFT_BY_A_RUNG),
    "expected gain a second, noise 0.1": expected_gain(0.1, LEFT_BY_A_RUNG),
}


TABLES: list[Table] = []  # read before the processes that play are forked


def play(name: str, seed: int, seconds: float, workers: int) -> tuple[float, float]:
    """Play a rule once; return the accuracy in % and the seconds of the play."""
    started = time.perf_counter()
    accuracy = Play(TABLES[seed % len(TABLES)], RULES[name], seed, workers).run(seconds)
    return 100 * accuracy, time.perf_counter() - started


def main() -> None:
    options = _options()
    benchmark = load_benchmark(options.name)
    studies = benchmark.with_compressing(check_in_worker(benchmark.studies, ())).studies
    TABLES.extend(read_table(Store(folder).latest_run(options.name), studies) for folder in options.mlruns)
    lines = list(report(options))
    if options.markdown:
        write_text(options.markdown, "\n".join(lines) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlruns", type=Path, nargs="+", default=[Path("mlruns")], metavar="DIR")
    parser.add_argument("--name", default="all", help="of the benchmark (default all)")
    parser.add_argument("--budgets", default="10m,30m")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2, help="of the run that is played (default 2)")
    parser.add_argument("--rules", default="", help="part of the names of the rules to play")
    parser.add_argument("--end", type=float, default=90.0, help="seconds for start, ensemble and report")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    return parser.parse_args()


def report(options: argparse.Namespace) -> Iterator[str]:
    """Play every rule; give the page, and print its rows as they come."""
    budgets = options.budgets.split(",")
    count, climbs = sum(len(r) for table in TABLES for r in table.records.values()), left_by_a_climb(TABLES)
    yield from (
        "# Which rule shares the time best",
        "",
        f"{options.seeds} plays of each rule over {count} recorded trials of {len(TABLES)} runs, "
        f"{options.workers} workers; median accuracy",
        "of the ensemble on that half of validation rows that it was not chosen on, in %, with the mean difference to",
        "equal shares over the same seeds and its standard error.",
        f"What climbed a rung kept {climbs[0]:.2f} to {climbs[-1]:.2f} of its errors (medians by study and run), "
        f"{statistics.median(climbs):.2f} in the middle.",
        "",
        "| Rule | " + " | ".join(f"{budget} | difference" for budget in budgets) + " | Play, ms |",
        "| --- |" + " ---: | ---: |" * len(budgets) + " ---: |",
    )
    base: dict[str, list[float]] = {}
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("fork")) as processes:
        for name in [rule for rule in RULES if options.rules in rule or rule == "equal shares"]:
            cells, took = [], []
            for budget in budgets:
                seconds, n = parse_duration(budget) - options.end, options.seeds
                plays = list(processes.map(play, [name] * n, range(n), [seconds] * n, [options.workers] * n))
                scores = [score for score, _ in plays]
                took += [seconds for _, seconds in plays]
                base.setdefault(budget, scores)
                gains = [score - other for score, other in zip(scores, base[budget], strict=True)]
                error = statistics.stdev(gains) / len(gains) ** 0.5
                cells += [f"{statistics.median(scores):.2f}", f"{statistics.mean(gains):+.3f} ± {error:.3f}"]
            line = f"| {name} | " + " | ".join(cells) + f" | {1000 * statistics.mean(took):.0f} |"
            print(line, flush=True)
            yield line
    yield from ("", "`" + " ".join(["python", *sys.argv]) + "`", "")
    yield from (f"- {key}: {value}" for key, value in machine().items())


if __name__ == "__main__":
    main()
