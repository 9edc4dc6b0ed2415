import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from fmnist_bench.cli import main
from fmnist_bench.config.schemas import schema


def test_run_prints_leaderboard_and_where_everything_is(finished_benchmark):
    printed = finished_benchmark[1]
    assert "test %" in printed
    for line in ("ensemble ", "bayes ", "Report:", "MLflow:", "Ensemble:"):
        assert any(row.startswith(line) for row in printed.splitlines()), line


def test_the_report_names_its_seed_and_counts_no_repetitions(finished):
    report = Path(finished[1][-1]["report"]).with_suffix(".md").read_text()
    assert "| seed | 0 |" in report and "repetition" not in report


def test_json_prints_events_of_the_schema_alone(finished):
    events = finished[1]
    for event in events:
        jsonschema.validate(event, schema("event"), jsonschema.Draft7Validator)
    assert [event["event"] for event in events if event["event"] != "message"] == ["started", "trial", "result"]
    first = [event["text"] for event in events[:2]]
    assert first[0] == "Reading digits" and "before the first trial" in first[1]
    result = events[-1]
    assert Path(result["report"]).is_file() and Path(result["ensemble"]).is_dir()
    assert [model["name"] for model in result["models"]] == ["ensemble", "bayes"]
    assert all(model["test_low"] < model["test_accuracy"] < model["test_high"] for model in result["models"])


def test_a_run_that_goes_on_says_after_how_many_trials(again, capsys):
    assert main(["run", "tiny", "--trials", "2", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(event.get("text", "").startswith("Going on after 1 trial, 0:") for event in events)


@pytest.mark.slow
def test_a_run_to_which_nobody_listens_ends_and_goes_on_later(place):
    command = [sys.executable, "-m", "fmnist_bench", "run", "tiny", "--trials", "30", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
    assert main(["run", "tiny", "--trials", "30"]) == 0
    statuses = [json.loads(path.read_text())["result"]["status"] for path in place.glob("mlruns/**/trial.json")]
    assert statuses.count("complete") == 30
    assert set(statuses) <= {"complete", "interrupted"}


def test_nan_pixels_are_refused(place, capsys):
    images = np.zeros((40, 4, 4))
    images[3, 2, 1] = np.nan
    labels = np.arange(40) % 2
    np.savez("nan.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert main(["run", "tiny", "--data", "nan.npz"]) == 2
    assert "NaN" in capsys.readouterr().err


def test_ones_own_images_run_and_quiet_prints_the_result_alone(place, capsys, monkeypatch, no_figures):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.random((120, 5, 7, 3)) * 80 + labels[:, None, None, None] * 80).astype(np.uint8)
    np.savez("own.npz", x_train=images[:90], y_train=labels[:90], x_test=images[90:], y_test=labels[90:])
    assert main(["run", "tiny", "--data", "own.npz", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "test %" in printed and "100.00" in printed and "started" not in printed
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert main(["report", "tiny", "--mlruns", "../mlruns"]) == 0
