"""The commands that a report names."""

import pytest
from scenes import make_run

from fmnist_bench.report.commands import how_to_go_on

CALL = "python -m fmnist_bench run all"


@pytest.mark.parametrize(
    ("command", "budget", "said"),
    [
        (f"{CALL} --data x", 600.0, f"{CALL} --data x --budget 20m"),
        (f"{CALL} --fresh --budget 90s --seed 1", 90.0, f"{CALL} --seed 1 --budget 3m"),
        (f"{CALL} --budget=45s", 45.0, f"{CALL} --budget 90s"),
        ("python -m fmnist_bench report all", 600.0, None),
        (CALL, None, None),
    ],
)
def test_the_call_that_goes_on_has_twice_the_budget(tmp_path, command, budget, said):
    run = make_run(tmp_path)
    run.state.update(command=command, budget=budget, trials=None)
    assert how_to_go_on(run).get("Go on, to twice the time") == said


def test_a_run_that_counts_trials_has_no_budget_to_double(tmp_path):
    run = make_run(tmp_path)
    run.state.update(command=CALL, budget=600.0, trials=3)
    assert list(how_to_go_on(run)) == ["Tables and figures of this run"]
