import optuna
import pytest

from fmnist_bench.search import ArmSearch, distribution, open_journal
from fmnist_bench.space import Range, Spec
from fmnist_bench.store import Run, Store, TrialRecord
from fmnist_bench.study import Arm, Known, Study
from fmnist_bench.trial import TrialResult

SPACE = Spec("sklearn.svm.SVC", {"C": Range(0.1, 10.0, log=True), "degree": Range(1, 5)})


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return Run(Store(tmp_path / "mlruns"), folder, "b")


def make(run, known=(), space=SPACE):
    return ArmSearch(Arm(Study("svm", space, known=tuple(known))), run, seed=0, share=1.0)


def answer(search, run, ask, accuracy=0.5, status="complete", seconds=1.0):
    result = TrialResult(status, accuracy=accuracy, log_loss=1.0)
    record = TrialRecord("svm", ask.number, dict(ask.parameters), ask.known, result, seconds, 0.0)
    run.save_record(record)
    search.tell(record)
    return record


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Range(1, 5), optuna.distributions.IntDistribution(1, 5)),
        (Range(1, 9, step=2), optuna.distributions.IntDistribution(1, 9, step=2)),
        (Range(0.1, 5.0, log=True), optuna.distributions.FloatDistribution(0.1, 5.0, log=True)),
        (Range(choices=("a", 2)), optuna.distributions.CategoricalDistribution(("a", 2))),
    ],
)
def test_ranges_become_distributions(space, expected):
    assert distribution(space) == expected


def test_known_configurations_come_first_with_their_constants(run):
    known = [
        Known("one", {"model__C": 3.0, "model__degree": 2, "model__kernel": "poly"}),
        Known("two", {"model__C": 1.0}),
    ]
    search = make(run, known)
    first = search.ask()
    assert first.known == "one"
    assert first.parameters == {"model__C": 3.0, "model__degree": 2, "model__kernel": "poly"}
    answer(search, run, first)
    second = search.ask()
    assert second.known == "two"
    assert second.parameters["model__C"] == 1.0
    assert 1 <= second.parameters["model__degree"] <= 5
    answer(search, run, second)
    assert search.ask().known == ""


def test_a_resumed_search_asks_what_it_would_have_asked(run, tmp_path):
    search, asked = make(run), []
    for i in range(8):
        asked.append(search.ask())
        answer(search, run, asked[-1], accuracy=i / 10)
    again = make(run)
    assert again.count() == 8
    there = Run(Store(tmp_path / "other"), tmp_path / "other" / "run", "b")
    there.folder.mkdir()
    other = make(there)
    for i in range(8):
        ask = other.ask()
        assert ask.parameters == asked[i].parameters
        answer(other, there, ask, accuracy=i / 10)
    assert other.ask().parameters == again.ask().parameters


def test_an_interrupted_trial_is_asked_again(run):
    ask = make(run).ask()
    search = make(run)
    (left,) = search.left_running()
    assert left.parameters == ask.parameters
    answer(search, run, left, accuracy=None, status="interrupted")
    assert search.count() == 0
    again = search.ask()
    assert again.parameters == ask.parameters
    assert again.number == ask.number + 1


def test_a_trial_that_was_recorded_but_not_told_counts_once(run):
    search = make(run)
    ask = search.ask()
    record = TrialRecord("svm", ask.number, dict(ask.parameters), "", TrialResult("complete", accuracy=0.5), 1.0, 0.0)
    run.save_record(record)  # and here the process dies
    again = make(run)
    assert again.count() == 0
    again.tell(run.record("svm", again.left_running()[0].number))
    assert again.count() == 1
    assert make(run).count() == 1


def test_a_question_that_was_cut_off_is_withdrawn_and_asked_again(run):
    known = [Known("one", {"model__C": 3.0, "model__degree": 2})]
    search = make(run, known)
    study = search._study
    study.ask({})  # the process dies before the parameters of the known configuration are written
    again = make(run, known)
    (left,) = again.left_running()
    assert again.withdraw(left)
    ask = again.ask()
    assert (ask.known, ask.parameters) == ("one", {"model__C": 3.0, "model__degree": 2})
    assert not again.withdraw(ask)


def test_nothing_is_tried_twice_and_a_small_space_is_exhausted(run):
    search = make(run, space=Spec("sklearn.svm.SVC", {"kernel": Range(choices=("rbf", "poly", "linear"))}))
    tried = []
    while (ask := search.ask()) is not None:
        tried.append(ask.parameters["model__kernel"])
        answer(search, run, ask)
    assert sorted(tried) == ["linear", "poly", "rbf"]
    assert search.claim().typical == float("inf")


def test_a_bad_trial_is_pruned_and_a_known_one_never(run):
    search = make(run, [Known(str(i), {"model__C": float(i + 1)}) for i in range(4)])
    for _ in range(4):
        ask = search.ask()
        assert not any(search.should_prune(ask, step, 0.9) for step in range(1, 5))
        answer(search, run, ask, accuracy=0.9)
    ask = search.ask()
    assert [search.should_prune(ask, step, 0.1) for step in (1, 2)][-1]


def test_best_is_by_accuracy_then_log_loss(run):
    search = make(run)
    records = [answer(search, run, search.ask(), accuracy=a) for a in (0.5, 0.9, 0.7, 0.9)]
    assert [r.number for r in search.best(3)] == [records[1].number, records[3].number, records[2].number]


def test_a_journal_line_that_was_cut_off_is_cut_away(run):
    search = make(run)
    answer(search, run, search.ask())
    whole = run.journal.read_bytes()
    run.journal.write_bytes(whole + b'{"op_code": 4, "wor')
    open_journal(run)
    assert run.journal.read_bytes() == whole
    assert make(run).count() == 1
