"""Every family on the real Fashion-MNIST, as a person would run it."""

import json

import pytest

from fmnist_bench import load_dataset, load_ensemble
from fmnist_bench.cli import main
from fmnist_bench.config import load_benchmark


@pytest.mark.slow
def test_smoke_runs_every_family_to_an_ensemble(arena, tmp_path, capsys):
    assert main(["run", "smoke"]) == 0
    printed = capsys.readouterr().out
    records = [json.loads(path.read_text()) for path in tmp_path.glob("mlruns/runs/smoke-*/trials/*/*/trial.json")]
    statuses = {record["arm"]: record["result"]["status"] for record in records}
    assert statuses.keys() == {arm.name for arm in load_benchmark("smoke").arms}
    may_lack_weights = {"resnet50", "convnext_tiny"}
    assert {status for arm, status in statuses.items() if arm not in may_lack_weights} == {"complete"}
    assert {statuses[arm] for arm in may_lack_weights} <= {"complete", "no_weights"}
    assert all(f"{arm} " in printed for arm in statuses)

    (folder,) = tmp_path.glob("mlruns/runs/smoke-*/ensemble")
    test = load_dataset(subset="test")
    assert load_ensemble(folder).score(test.X, test.y) > 0.85
