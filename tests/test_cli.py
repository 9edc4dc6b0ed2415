import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from places import furnish

from fmnist_bench.cli import main
from fmnist_bench.config.schemas import schema

STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 1e-1, log = true }\n'
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nstudies = ["bayes"]\n'


@pytest.fixture
def place(arena):
    arena("studies/bayes.toml", STUDY)
    return arena("benchmarks/tiny.toml", BENCHMARK).parent.parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory, empty_database):
    """The folder in which the small benchmark has run, and the events that the run printed as JSON."""
    files = {"studies/bayes.toml": STUDY, "benchmarks/tiny.toml": BENCHMARK}
    folder = furnish(tmp_path_factory.mktemp("finished"), empty_database, files)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        assert main(["run", "tiny", "--json"]) == 0
    return folder, [json.loads(line) for line in printed.getvalue().splitlines()]


@pytest.fixture
def again(finished, tmp_path, monkeypatch):
    """The same in a copy, for those who go on with it."""
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.chdir(copy)
    return copy


def run(*arguments, **environment):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment}
    command = [sys.executable, "-m", "fmnist_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "VERB"), (["rnu"], "choose from .?run"), (["run", "all", "--trials", "x"], "--trials: invalid")],
)
def test_a_mistake_on_the_command_line_is_one_line(capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert line.startswith("error: ")
    assert re.search(words, line)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from fmnist_bench.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'sklearn', 'keras', 'tensorflow', 'mlflow', 'optuna', 'pandas', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


def test_run_prints_leaderboard_and_where_everything_is(place, capsys):
    assert main(["run", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert "test %" in printed
    for line in ("ensemble ", "bayes ", "Report:", "MLflow:", "Ensemble:"):
        assert any(row.startswith(line) for row in printed.splitlines()), line


def test_quiet_prints_the_result_alone(again, capsys):
    assert main(["run", "tiny", "--trials", "2", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "test %" in printed and "started" not in printed


def test_json_prints_events_of_the_schema_alone(finished):
    events = finished[1]
    for event in events:
        jsonschema.validate(event, schema("event"), jsonschema.Draft7Validator)
    assert [event["event"] for event in events if event["event"] != "message"] == ["started", "trial", "result"]
    result = events[-1]
    assert Path(result["report"]).is_file() and Path(result["ensemble"]).is_dir()
    assert [model["name"] for model in result["models"]] == ["ensemble", "bayes"]
    assert all(model["test_low"] < model["test_accuracy"] < model["test_high"] for model in result["models"])


@pytest.mark.slow
def test_a_run_to_which_nobody_listens_ends_and_goes_on_later(place):
    command = [sys.executable, "-m", "fmnist_bench", "run", "tiny", "--trials", "30", "--json"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
    assert main(["run", "tiny", "--trials", "30"]) == 0
    statuses = [json.loads(path.read_text())["result"]["status"] for path in place.glob("mlruns/**/trial.json")]
    assert statuses.count("complete") == 30
    assert set(statuses) <= {"complete", "interrupted"}


def test_a_fault_of_the_program_is_one_line_and_its_trace_is_kept(place, capsys, monkeypatch):
    def fail(*_):
        raise KeyError("two\nlines")

    monkeypatch.setattr("fmnist_bench.config.loader.describe_all", fail)
    assert main(["list"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "a bug in fmnist_bench" in line
    trace = Path(line.partition("its trace is in ")[2].partition(",")[0])
    assert "describe_all" in trace.read_text()
    trace.unlink()
    assert main(["list", "--debug"]) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    Path(printed.partition("its trace is in ")[2].partition(",")[0]).unlink()


@pytest.mark.parametrize("name", ["study", "benchmark", "event"])
def test_schemas_are_printed(name, capsys):
    assert main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["title"].lower() == name


def test_report_list_check_and_data(again, capsys):
    assert main(["report", "tiny", "--markdown", "tiny.md"]) == 0
    assert "bayes" in (again / "tiny.md").read_text()
    assert main(["list"]) == 0
    assert main(["check", "tiny"]) == 0
    assert main(["data", "digits"]) == 0
    printed = capsys.readouterr().out
    assert "model__var_smoothing [1e-09, 0.1] log" in printed
    assert "every configuration can be built" in printed
    assert "1500 images of 8 x 8" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "tinny"], "did you mean tiny?"),
        (["run", "nowhere.toml"], "no such file"),
        (["run", "tiny", "--budget", "0"], "above zero"),
        (["run", "tiny", "--budget", "3s"], "budget 3 s: must be more than the 20 s kept aside"),
        (["run", "tiny", "--budget", "soon"], "such as 90s, 10m, 2h"),
        (["run", "tiny", "--budget", "1h30"], "such as 90s, 10m, 2h or 1h30m"),
        (["run", "tiny", "--workers", "²"], "workers '²': must be a whole number of at least 1, or auto"),
        (["run", "tiny", "--workers", "0"], "at least 1, or auto"),
        (["check", "torn"], "torn.toml: not a readable TOML file"),
        (["check", "endless"], "C.high: expected a number, found inf"),
        (["check", "lost"], "study lost: model__C: nothing can be drawn from [0.0, 1.0] step 1e-320"),
        (["run", "tiny", "--max-latency", "0"], "max-latency 0.0: must be a number of milliseconds above 0"),
        (["run", "tiny", "--trials", "0"], "at least 1"),
        (["run", "tiny", "--seed", "-1"], "at least 0"),
        (["run", "tiny", "--data", "lost.npz"], "lost.npz"),
        (["run", "tiny", "--mlruns", "studies/bayes.toml"], "cannot be written"),
        (["report", "tiny"], "holds no run of tiny"),
        (["ui", "--mlruns", "empty"], "no such file"),
        (["data", "digitz"], "digits"),
        (["check", "broken"], "there is no such|unknown key"),
    ],
)
def test_bad_input_is_one_line_and_status_2(place, arena, capsys, arguments, words):
    arena("studies/broken.toml", STUDY + "[[knwon]]\n")
    arena("studies/torn.toml", '[model]\nuse = """')
    arena("studies/endless.toml", '[model]\nuse = "sklearn.svm.SVC"\nC = { low = 1.0, high = inf }\n')
    lost = "probability = true\nC = { low = 0.0, high = 1.0, step = 1e-320 }\n"
    arena("studies/lost.toml", f'[model]\nuse = "sklearn.svm.SVC"\n{lost}')
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert any(part in printed.err for part in words.split("|"))
    assert sorted(p.name for p in place.glob("mlruns/*/*")) == []


def test_what_is_said_of_the_data_is_said_once_each_in_a_line(place):
    images, y = np.tile(np.eye(8, dtype=np.uint8), (20, 1, 1)), np.arange(20) % 2
    np.savez("flat.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    done = run("data", "flat.npz")
    assert done.returncode == 0 and "overlap      20 of the 20" in done.stdout
    said = "zeros and ones alone are taken for black and white"
    assert done.stderr.splitlines() == [f"warning: flat.npz: images of {part}: {said}" for part in ("train", "test")]


def test_nan_pixels_are_refused(place, capsys):
    images = np.zeros((40, 4, 4))
    images[3, 2, 1] = np.nan
    labels = np.arange(40) % 2
    np.savez("nan.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert main(["run", "tiny", "--data", "nan.npz"]) == 2
    assert "NaN" in capsys.readouterr().err


def test_ones_own_images_run(place, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.random((120, 5, 7, 3)) * 80 + labels[:, None, None, None] * 80).astype(np.uint8)
    np.savez("own.npz", x_train=images[:90], y_train=labels[:90], x_test=images[90:], y_test=labels[90:])
    assert main(["run", "tiny", "--data", "own.npz", "--quiet"]) == 0
    assert "100.00" in capsys.readouterr().out
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert main(["report", "tiny", "--mlruns", "../mlruns"]) == 0


def test_only_a_run_says_that_it_goes_on(place, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_bench.config.loader.describe_all", interrupted)
    monkeypatch.setattr("fmnist_bench.runner.run_benchmark", interrupted)
    assert (main(["list"]), capsys.readouterr().err) == (130, "stopped\n")
    assert (main(["run", "tiny"]), "goes on from here" in capsys.readouterr().err) == (130, True)


def test_wrong_arguments_exit_with_2():
    assert run("run").returncode == 2
    assert run("dance").returncode == 2


def test_debug_shows_the_trace(place, capsys):
    assert main(["run", "tinny", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", pytest.param("<&- >&-", marks=pytest.mark.slow)])
def test_closed_standard_streams_are_no_hindrance(again, closed):
    next(again.glob("mlruns/runs/*/report.html")).unlink()
    command = f"exec {sys.executable} -m fmnist_bench run tiny {closed}"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(again.glob("mlruns/runs/*/report.html"))
