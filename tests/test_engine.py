"""The loop over trials: limits of time."""

from types import SimpleNamespace

import pytest

from fmnist_bench.budget import Clock
from fmnist_bench.engine import Search


@pytest.mark.parametrize("n_arms", [2, 14])
def test_an_augmentation_leaves_half_of_the_time_for_trials(n_arms):
    workers, settings = SimpleNamespace(capacity=2), SimpleNamespace(trials=None)
    search = Search([None] * n_arms, None, None, Clock(1000.0), workers, settings, None)
    limit, fair = search._limit(0.0, 0.0, preparation=True), 2 * 1000 / n_arms
    assert limit == pytest.approx(min(500, fair), rel=0.01)
    assert search._limit(0.0, 0.0) == pytest.approx(fair, rel=0.01)
