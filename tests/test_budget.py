import math

from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.budget import ArmClaim, Clock, next_arm


def play(shares, costs, seconds):
    """Run the rule with trials of fixed cost; return what each arm got."""
    spent, known = [0.0] * len(shares), [0.0] * len(shares)
    left = seconds
    while (
        chosen := next_arm([ArmClaim(*claim) for claim in zip(shares, spent, known, strict=True)], left)
    ) is not None:
        arm, limit = chosen
        used = min(costs[arm], limit)
        spent[arm] += used
        known[arm] = costs[arm]
        left -= used
    return spent, left


def test_arms_get_their_shares():
    spent, left = play([0.5, 0.25, 0.25], [1.0, 1.0, 1.0], 400)
    assert [round(s / 400, 2) for s in spent] == [0.5, 0.25, 0.25]
    assert left < 1


def test_a_slow_arm_does_not_starve_the_others():
    spent, _ = play([0.5, 0.5], [300.0, 2.0], 400)
    assert 190 <= spent[0] <= 210
    assert spent[1] > 180


def test_what_an_exhausted_arm_leaves_goes_to_the_others():
    claims = [ArmClaim(0.9, 1.0, math.inf), ArmClaim(0.1, 50.0, 5.0)]
    assert next_arm(claims, 100.0) == (1, 100.0)


def test_no_trial_starts_that_is_not_likely_to_end():
    assert next_arm([ArmClaim(1.0, 10.0, 20.0)], 15.0) is None
    assert next_arm([ArmClaim(1.0, 0.0, 0.0)], 0.0) is None


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.floats(1.5, 60)), min_size=1, max_size=6),
    st.floats(5, 500),
)
def test_the_budget_is_never_overdrawn(arms, seconds):
    total = sum(share for share, _ in arms)
    spent, left = play([share / total for share, _ in arms], [cost for _, cost in arms], seconds)
    assert left >= -1e-6
    assert sum(spent) <= seconds + 1e-6


def test_the_clock_counts_earlier_calls():
    clock = Clock(100.0, spent=90.0)
    assert 9.0 < clock.left() <= 10.0
    assert clock.left(reserve=20.0) == 0.0
    assert Clock(None).left() is None
