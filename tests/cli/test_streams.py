import os
import pty
import subprocess
import sys

import numpy as np
import pytest

from fmnist_bench.cli.streams import painted


def in_shell(command):
    command = f"exec {sys.executable} -m fmnist_bench {command}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240)


def test_a_worker_starts_where_the_standard_streams_are_closed(place):
    done = in_shell("check tiny <&- >&- 2>&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "<&- >&-"])
def test_a_run_ends_where_the_standard_streams_are_closed(again, closed):
    next(again.glob("mlruns/runs/*/report.html")).unlink()
    done = in_shell(f"run tiny {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(again.glob("mlruns/runs/*/report.html"))


def test_what_is_said_of_the_data_is_said_once_each_in_a_line(place):
    images, y = np.tile(np.eye(8, dtype=np.uint8), (20, 1, 1)), np.arange(20) % 2
    np.savez("flat.npz", x_train=images, y_train=y, x_test=images, y_test=y)
    command = [sys.executable, "-m", "fmnist_bench", "data", "flat.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "overlap      20 of the 20" in done.stdout
    said = "zeros and ones alone are taken for black and white"
    assert done.stderr.splitlines() == [f"warning: flat.npz: images of {part}: {said}" for part in ("train", "test")]


def test_on_a_terminal_something_is_said_before_anything_is_loaded(tmp_path):
    code = "import sys; from fmnist_bench.cli import main; sys.exit(main(['run', 'nothing']))"
    said, heard = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=heard, cwd=tmp_path, timeout=120)
    os.close(heard)
    first, second, *_ = os.read(said, 10_000).decode().splitlines()
    assert (done.returncode, first) == (2, "nothing: loading the libraries, then the data")
    assert second.startswith("error: no benchmark or study is called nothing")


def test_colours_are_for_terminals_and_those_who_want_them(monkeypatch):
    assert painted("warning", "yellow") == "warning"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert painted("warning", "yellow") == "\x1b[33mwarning\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert painted("warning", "yellow") == "warning"
