import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.search.allocation import Clock, StudyClaim, next_study


def play(accuracies, costs, seconds, spaces=None):
    """Run the rule with trials of fixed cost; return the seconds of each study."""
    spaces = spaces or [str(i) for i in range(len(costs))]
    spent, count = [0.0] * len(costs), [0] * len(costs)
    while sum(spent) < seconds:
        claims = [
            StudyClaim(spaces[i], accuracies[i], spent[i], count[i], costs[i], count[i] == 0) for i in range(len(costs))
        ]
        study = next_study(claims)
        spent[study] += costs[study]
        count[study] += 1
    return spent


def test_default_configurations_come_first_one_of_each_study_before_a_second():
    claims = [
        StudyClaim("a", 0.9, 9.0, 1, 1.0, untried=True),
        StudyClaim("b", 0.0, 0.0, 0, 5.0, untried=True),
        StudyClaim("c", 0.95),
    ]
    assert next_study(claims) == 1


def test_quick_families_come_before_networks_and_who_has_no_result_before_second_trials():
    network = StudyClaim("cnn", untried=True, quick=False)
    assert next_study([network, StudyClaim("knn", untried=True)]) == 1
    assert next_study([StudyClaim("knn", untried=True), network], quick=False) == 1, (
        "where one worker looks at networks"
    )
    again = StudyClaim("cnn", 0.0, 60.0, 1, 120.0, untried=True, quick=False)
    assert next_study([StudyClaim("knn", 0.9, 5.0, 1, 5.0, untried=True), again]) == 1
    assert next_study([StudyClaim("knn", 0.0, 0.0, 0, 0.0, untried=True), again]) == 0


def test_each_study_gets_three_tenths_of_what_the_better_one_gets():
    spent = play([0.8, 0.9, 0.7], [1.0, 1.0, 1.0], 1390)
    assert [round(seconds / 100) for seconds in spent] == [3, 10, 1]


def test_when_the_order_changes_so_do_the_parts():
    claims = [StudyClaim("a", 0.8, 60.0, 3), StudyClaim("b", 0.9, 40.0, 3)]
    assert next_study(claims) == 1
    assert next_study([StudyClaim("a", 0.95, 60.0, 3), claims[1]]) == 0


def test_the_studies_of_a_study_get_equal_time():
    spent = play([0.9, 0.2, 0.8], [7.0, 3.0, 1.0], 2000, ["cnn", "cnn", "svm"])
    assert abs(spent[0] - spent[1]) <= 7
    assert spent[0] + spent[1] > 1.9 * spent[2]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 60)), min_size=1, max_size=6), st.floats(100, 500))
def test_everyone_gets_a_trial(studies, seconds):
    spent = play([accuracy for accuracy, _ in studies], [cost for _, cost in studies], max(seconds, 61 * len(studies)))
    assert all(spent)


def test_the_clock_counts_earlier_calls():
    clock = Clock(100.0, spent=90.0)
    assert 9.0 < clock.left() <= 10.0
    assert clock.left(reserve=20.0) == 0.0
    assert Clock(None).left() is None


def test_the_time_of_a_study_that_has_nothing_to_try_counts_for_its_study():
    learning = StudyClaim("cnn", spent=500.0, ready=False)
    cnn, forest = (
        StudyClaim("cnn", promise=0.94, spent=100, count=3),
        StudyClaim("forest", promise=0.88, spent=100, count=3),
    )
    assert next_study([cnn, forest]) == 0
    assert next_study([learning, cnn, forest]) == 2
    assert next_study([StudyClaim("gone", promise=0.99, ready=False), cnn, forest]) == 1


def test_a_long_trial_of_the_best_study_begins_before_it_is_too_late():
    svm = StudyClaim("svm", promise=0.93, spent=10.0, count=9, seconds=10.0)
    cnn = StudyClaim("cnn", promise=0.95, spent=900.0, count=2, seconds=500.0)
    assert next_study([cnn, svm]) == 1
    assert next_study([replace(cnn, slack=30.0), svm]) == 1, "it can wait for one of ten seconds, or of twenty"
    assert next_study([replace(cnn, slack=15.0), svm]) == 0
    assert next_study([cnn, svm, StudyClaim("forest", promise=0.9, spent=90.0, slack=1.0)]) == 1, (
        "not that of another one"
    )


def test_the_studies_of_a_study_in_a_hurry_get_equal_time_as_well():
    svm = StudyClaim("svm", promise=0.93, spent=10.0, count=9, seconds=10.0)
    plain = StudyClaim("cnn", promise=0.95, spent=900.0, count=2, seconds=500.0, slack=5.0)
    augmented = replace(plain, spent=300.0)
    assert next_study([plain, augmented, svm]) == 1
    assert next_study([plain, replace(augmented, slack=math.inf), svm]) == 2, "it is the other study's turn"
    assert next_study([plain, replace(augmented, ready=False), svm]) == 0
