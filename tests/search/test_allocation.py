from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.search.allocation import Clock, StudyClaim, next_study


def play(accuracies, costs, seconds, spaces=None):
    """Run the rule with trials of fixed cost; return the seconds of each study."""
    spaces = spaces or [str(i) for i in range(len(costs))]
    spent = [0.0] * len(costs)
    while sum(spent) < seconds:
        study = next_study([StudyClaim(spaces[i], accuracies[i], spent[i]) for i in range(len(costs))])
        spent[study] += costs[study]
    return spent


def test_each_space_gets_three_tenths_of_what_the_better_one_gets():
    spent = play([0.8, 0.9, 0.7], [1.0, 1.0, 1.0], 1390)
    assert [round(seconds / 100) for seconds in spent] == [3, 10, 1]


def test_when_the_order_changes_so_do_the_parts():
    claims = [StudyClaim("a", 0.8, 60.0), StudyClaim("b", 0.9, 40.0)]
    assert next_study(claims) == 1
    assert next_study([StudyClaim("a", 0.95, 60.0), claims[1]]) == 0


def test_the_studies_over_one_space_get_equal_time():
    spent = play([0.9, 0.2, 0.8], [7.0, 3.0, 1.0], 2000, ["cnn", "cnn", "svm"])
    assert abs(spent[0] - spent[1]) <= 7
    assert spent[0] + spent[1] > 1.9 * spent[2]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 60)), min_size=1, max_size=6), st.floats(100, 500))
def test_every_study_gets_a_trial(studies, seconds):
    spent = play([accuracy for accuracy, _ in studies], [cost for _, cost in studies], max(seconds, 61 * len(studies)))
    assert all(spent)


def test_the_time_of_a_study_with_nothing_to_try_counts_for_its_space():
    learning = StudyClaim("cnn", spent=500.0, ready=False)
    cnn, forest = StudyClaim("cnn", promise=0.94, spent=100), StudyClaim("forest", promise=0.88, spent=100)
    assert next_study([cnn, forest]) == 0
    assert next_study([learning, cnn, forest]) == 2
    assert next_study([StudyClaim("gone", promise=0.99, ready=False), cnn, forest]) == 1


def test_a_study_whose_trials_gain_nothing_waits_for_the_others():
    svm, forest = StudyClaim("svm", promise=0.93, stale=True), StudyClaim("forest", promise=0.8, spent=900.0)
    assert next_study([svm, forest]) == 1
    assert next_study([svm, replace(forest, stale=True)]) == 0, "until there is nothing else to try"


def test_the_clock_counts_earlier_calls():
    clock = Clock(100.0, spent=90.0)
    assert 9.0 < clock.left() <= 10.0
    assert clock.left(reserve=20.0) == 0.0
    assert Clock(None).left() is None
