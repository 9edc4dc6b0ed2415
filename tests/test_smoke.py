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
    complete = {record["arm"] for record in records if record["result"]["status"] == "complete"}
    assert complete == {arm.name for arm in load_benchmark("smoke").arms}
    assert all(f"{arm} " in printed for arm in complete)

    (folder,) = tmp_path.glob("mlruns/runs/smoke-*/ensemble")
    test = load_dataset(subset="test")
    assert load_ensemble(folder).score(test.X, test.y) > 0.85
