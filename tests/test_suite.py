import os
import signal

import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.config.loader import load_benchmark, load_suite
from fmnist_bench.config.suite import Task
from fmnist_bench.progress.displays import Progress
from fmnist_bench.runner import FinishedError, run_benchmark
from fmnist_bench.storage.run_folder import read_split, read_state
from fmnist_bench.suite import check_suite, distinct, run_suite

TASKS = 'data = "digits"\nrows = [300, 900, 1500, 6000]\ntrials = 1\nstudies = ["bayes"]\nseeds = 2\n'


class CtrlC(Progress):
    """Presses Ctrl-C once, when the first trial has ended."""

    def trial_ended(self, *_):
        if not getattr(self, "pressed", False):
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def place(arena, no_figures):
    arena(
        "studies/bayes.toml",
        '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-3, high = 0.1 }\n',
    )
    arena("benchmarks/tiny.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 1\nseed = 7\nstudies = ["bayes"]\n')
    arena("benchmarks/tasks.toml", TASKS)


def seeds_of(found):
    return [read_state(folder / "run.json")["seed"] for folder in found.folders]


def written(found):
    return [(folder / "run.json").stat().st_mtime_ns for folder in found.folders]


def test_each_seed_is_a_run_and_a_later_call_adds_what_is_missing(place, capsys):
    told = []
    found = run_suite("tiny", seeds=2, progress=Progress, told=lambda outcome, _: told.append(outcome.folder))
    assert seeds_of(found) == [7, 1007] and tuple(told) == found.folders
    ((first, second),) = found.comparison.groups
    assert {first.seed, second.seed} == {7, 1007} and first.settings == second.settings
    assert "Over seeds" in found.page.read_text()
    with pytest.raises(FinishedError, match="has come to its end"):
        run_benchmark("tiny", progress=Progress(), again=False)
    before = written(found)
    assert main(["run", "tiny", "--seeds", "3", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert (
        printed.count("Report:") == 1 and "3 runs, seeds 7, 1007, 2007" in printed and "standard deviation" in printed
    )
    assert written(found) == before


def test_ctrl_c_ends_all_of_them_and_the_same_call_goes_on(place):
    found = run_suite("tiny", seeds=2, trials=3, progress=CtrlC)
    assert found.stopped and seeds_of(found) == [7] and found.n_runs == 2
    assert len(list(found.folders[0].glob("trials/bayes/*/trial.json"))) < 3
    again = run_suite("tiny", seeds=2, trials=3, progress=Progress)
    assert not again.stopped and seeds_of(again) == [7, 1007]
    assert all(len(list(folder.glob("trials/bayes/*/trial.json"))) == 3 for folder in again.folders)


def test_each_task_is_a_run_on_nested_rows_and_the_whole_test_set(place):
    found = run_suite("tasks", seeds=1, progress=Progress)
    rows = [(row.rows, row.seed, row.test_rows) for row in found.comparison.rows]
    assert sorted(rows) == [(n, 0, 297) for n in (300, 900, 1500)]
    assert len({row.test_fingerprint for row in found.comparison.rows}) == 1
    parts = [[set(read_split(folder, part)) for part in ("train", "validation")] for folder in found.folders]
    assert [[len(part) for part in pair] for pair in parts] == [[250, 50], [750, 150], [1250, 250]]
    assert all(parts[0][i] < parts[1][i] < parts[2][i] for i in range(2))
    before = written(found)
    assert run_suite("tasks", seeds=1, progress=Progress).folders == found.folders and written(found) == before
    families = found.page.with_name(f"{found.page.stem}-families.csv").read_text().splitlines()
    assert len(families) == 1 + 3 * 2, "bayes and the ensemble in every run"
    assert "Families by task" in found.page.read_text() and "<svg" in found.page.read_text()
    kept = read_state(found.folders[0] / "run.json")["scores"]["families"]
    assert kept["bayes"]["right"] and kept["bayes"]["fit_seconds"] > 0


def test_data_that_have_fewer_rows_are_taken_whole_once(place, arena):
    suite = load_suite("tasks")
    assert [task.rows for task in distinct(suite).tasks] == [300, 900, 1500]
    arena("benchmarks/two.toml", TASKS.replace('"digits"', '["digits", "small.npz"]'))
    y = np.arange(400) % 4
    x = np.random.default_rng(0).integers(0, 255, (400, 8, 8), dtype=np.uint8)
    np.savez("small.npz", x_train=x, y_train=y, x_test=x[:40] ^ 1, y_test=y[:40])
    found = distinct(load_suite("two")).tasks
    assert found[3:] == (Task("small.npz", 300), Task("small.npz", 900))
    lines = check_suite("two").splitlines()
    assert len(lines) == 6 and "250 fit and 50 validation rows" in lines[0] and lines[-1] == "two: 10 runs"
    assert "333 fit and 67 validation rows" in lines[4]


@pytest.mark.parametrize(
    ("n", "seed", "words"), [(0, 3, "of 1 to 4294968"), (3, 2**32 - 10, "of 1 to 1;"), (1, -1, "seed -1: must be")]
)
def test_seeds_that_there_are_not_are_refused_before_the_first_run(place, tmp_path, n, seed, words):
    with pytest.raises(InputError, match=words):
        run_suite("tiny", seeds=n, seed=seed)
    assert not list(tmp_path.glob("mlruns/runs/*"))


def test_what_takes_one_run_refuses_a_suite(place):
    with pytest.raises(InputError, match="tasks: is a suite, 4 tasks with 2 seeds"):
        load_benchmark("tasks")
    with pytest.raises(InputError, match="is a suite"):
        run_benchmark("tasks", progress=Progress())
    assert load_benchmark("tiny").seed == 7
