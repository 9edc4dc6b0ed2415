import subprocess
import sys

import numpy as np
import pytest


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", pytest.param("<&- >&-", marks=pytest.mark.slow)])
def test_closed_standard_streams_are_no_hindrance(again, closed):
    next(again.glob("mlruns/runs/*/report.html")).unlink()
    command = f"exec {sys.executable} -m fmnist_bench run tiny {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240)
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
