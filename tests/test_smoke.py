"""Every family on the real Fashion-MNIST, as a person would run it."""

import json

import pytest

from fmnist_bench import load_dataset, load_ensemble, run_benchmark
from fmnist_bench.cli import main
from fmnist_bench.config.loader import load_benchmark

MAY_LACK_WEIGHTS = {"resnet50", "convnext_tiny"}


def statuses_of(folder):
    """Say how the trials of each study of a run ended."""
    found = {}
    for path in folder.glob("trials/*/*/trial.json"):
        record = json.loads(path.read_text())
        found.setdefault(record["study"], set()).add(record["result"]["status"])
    return found


@pytest.mark.slow
def test_smoke_runs_every_family_to_an_ensemble(arena, tmp_path, capsys):
    assert main(["run", "smoke"]) == 0
    printed = capsys.readouterr().out
    statuses = statuses_of(next(tmp_path.glob("mlruns/runs/smoke-*")))
    assert statuses.keys() == {study.name for study in load_benchmark("smoke").studies}
    assert all(found == {"complete"} for study, found in statuses.items() if study not in MAY_LACK_WEIGHTS)
    assert all(statuses[study] <= {"complete", "no_weights"} for study in MAY_LACK_WEIGHTS)
    assert all(f"{study} " in printed for study in statuses)

    (folder,) = tmp_path.glob("mlruns/runs/smoke-*/ensemble")
    test = load_dataset(subset="test")
    assert load_ensemble(folder).score(test.X, test.y) > 0.85


@pytest.mark.slow
def test_six_minutes_have_every_family_and_a_network_in_the_ensemble(arena, tmp_path, capsys):
    outcome = run_benchmark("all", budget="6m")
    statuses = statuses_of(outcome.folder)
    plain = {space.name for space in load_benchmark("all").spaces}
    assert all("complete" in statuses[study] for study in plain - MAY_LACK_WEIGHTS)
    assert any(study.startswith("cnn") for study, _, _ in outcome.findings.members)
    ensemble, *others = outcome.summary()["models"]
    assert ensemble["test_accuracy"] > max(model["test_low"] for model in others)
