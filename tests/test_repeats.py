import os
import signal

import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.progress.displays import Progress
from fmnist_bench.repeats import run_seeds
from fmnist_bench.runner import FinishedError, run_benchmark
from fmnist_bench.storage.run_folder import read_state


class CtrlC(Progress):
    """Presses Ctrl-C once, when the first trial has ended."""

    def trial_ended(self, *_):
        if not getattr(self, "pressed", False):
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def place(arena):
    arena(
        "studies/bayes.toml",
        '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-3, high = 0.1 }\n',
    )
    arena("benchmarks/tiny.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nseed = 7\nstudies = ["bayes"]\n')


def seeds_of(found):
    return [read_state(folder / "run.json")["seed"] for folder in found.folders]


def test_each_seed_is_a_run_and_a_later_call_adds_what_is_missing(place, capsys):
    told = []
    found = run_seeds("tiny", 2, progress=Progress, told=lambda outcome, _: told.append(outcome.folder))
    assert seeds_of(found) == [7, 1007] and tuple(told) == found.folders
    ((first, second),) = found.comparison.groups
    assert {first.seed, second.seed} == {7, 1007} and first.settings == second.settings
    assert "Over seeds" in found.page.read_text()
    with pytest.raises(FinishedError, match="has come to its end"):
        run_benchmark("tiny", progress=Progress(), again=False)
    before = [(folder / "run.json").stat().st_mtime_ns for folder in found.folders]
    assert main(["run", "tiny", "--seeds", "3", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert (
        printed.count("Report:") == 1 and "3 runs, seeds 7, 1007, 2007" in printed and "standard deviation" in printed
    )
    assert [(folder / "run.json").stat().st_mtime_ns for folder in found.folders] == before


def test_ctrl_c_ends_all_of_them_and_the_same_call_goes_on(place):
    found = run_seeds("tiny", 2, trials=3, progress=CtrlC)
    assert found.stopped and seeds_of(found) == [7]
    assert len(list(found.folders[0].glob("trials/bayes/*/trial.json"))) < 3
    again = run_seeds("tiny", 2, trials=3, progress=Progress)
    assert not again.stopped and seeds_of(again) == [7, 1007]
    assert all(len(list(folder.glob("trials/bayes/*/trial.json"))) == 3 for folder in again.folders)


@pytest.mark.parametrize(
    ("n", "seed", "words"), [(1, None, "at least 2"), (0, 3, "at least 2"), (3, 2**32 - 10, "there are fewer")]
)
def test_seeds_that_there_are_not_are_refused_before_the_first_run(place, tmp_path, n, seed, words):
    with pytest.raises(InputError, match=words):
        run_seeds("tiny", n, seed=seed)
    assert not list(tmp_path.glob("mlruns/runs/*"))
