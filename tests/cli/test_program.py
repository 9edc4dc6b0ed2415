import re
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_bench._utils.version import __version__
from fmnist_bench.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--debug"], "VERB"),
        (["rnu"], "no 'rnu': did you mean run. .choose from run, "),
        (["run", "all", "--bugdet", "3"], "argument --bugdet; did you mean --budget.; see .* run --help"),
        (["list", "all", "more"], "unrecognized argument more; see .* list --help"),
        (["run", "all", "--trials", "x"], "--trials: invalid"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert line.startswith("error: ")
    assert re.search(words, line)


def test_without_arguments_the_help_is_shown(capsys):
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "run smoke" in printed.err


def test_it_knows_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"fmnist_bench {__version__}\n")


HEAVY = {"argcomplete", "numpy", "sklearn", "keras", "tensorflow", "mlflow", "optuna", "pandas", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], [], ["list"]])
def test_the_first_contact_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from fmnist_bench.cli import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "smoke" in done.stdout + done.stderr


def test_the_workers_server_is_started_before_the_run_imports_what_takes_long():
    code = (
        "import sys\n"
        "from fmnist_bench.runner import run, setup\n"
        "from fmnist_bench.cli import main\n"
        "loaded = []\n"
        "def prepare(uses, allow_import):\n"
        "    loaded.extend({'matplotlib', 'mlflow', 'optuna'} & set(sys.modules))\n"
        "    raise run.InputError('started')\n"
        "setup.prepare = prepare\n"
        "status = main(['run', 'smoke'])\n"
        "sys.exit(str(loaded) if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "error: started\n")


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
        (["run", "tiny", "--refit", "full"], "refit 'full': must be one of no, networks"),
        (["run", "tiny", "--max-latency", "0"], "max-latency 0.0: must be a number of milliseconds above 0"),
        (["run", "tiny", "--trials", "0"], "at least 1"),
        (["run", "tiny", "--seed", "-1"], "at least 0"),
        (["run", "tiny", "--data", "lost.npz"], "lost.npz"),
        (["run", "tiny", "--mlruns", "studies/bayes.toml"], "cannot be written"),
        (["report", "tiny"], "holds no run of that name"),
        (["ui", "--mlruns", "empty"], "no such file"),
        (["data", "digitz"], "digits"),
        (["check", "broken"], "there is no such|unknown key"),
    ],
)
def test_bad_input_is_one_line_and_status_2(place, arena, capsys, arguments, words):
    arena("studies/broken.toml", (place / "studies/bayes.toml").read_text() + "[[knwon]]\n")
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


def test_a_fault_of_the_program_is_one_line_and_its_trace_is_kept(place, capsys, monkeypatch):
    def fail(*_):
        raise KeyError("two\nlines")

    monkeypatch.setattr("fmnist_bench.config.listing.list_all", fail)
    assert main(["list"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "a bug in fmnist_bench" in line
    trace = Path(line.partition("its trace is in ")[2].partition(",")[0])
    assert "list_all" in trace.read_text()
    trace.unlink()
    assert main(["list", "--debug"]) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    Path(printed.partition("its trace is in ")[2].partition(",")[0]).unlink()


def test_debug_shows_the_trace(place, capsys):
    assert main(["run", "tinny", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_only_a_run_says_that_it_goes_on(place, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fmnist_bench.config.listing.list_all", interrupted)
    monkeypatch.setattr("fmnist_bench.runner.run_benchmark", interrupted)
    assert (main(["list"]), capsys.readouterr().err) == (130, "stopped\n")
    assert (main(["run", "tiny"]), "goes on from here" in capsys.readouterr().err) == (130, True)
