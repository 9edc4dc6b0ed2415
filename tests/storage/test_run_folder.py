import errno
import json
import math
import os
import shutil

import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.config.study import Benchmark
from fmnist_bench.storage import run_folder as module
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.storage.trial import Trial


def about(benchmark):
    return benchmark.name, benchmark.digest(), "f" * 64


def test_records_come_back_as_they_were(tmp_path):
    with Store(tmp_path).open_run(*about(Benchmark("b"))) as run:
        result = TrialResult("failed", "x: y", history={"step": [1.0], "valid_loss": [float("nan")]})
        record = Trial("study", 3, {"model__C": 1.5, "model__kernel": "rbf"}, "default", result, 2.5, 9.0)
        run.save_record(record)
        (back,) = run.records("study")
    assert back.parameters == record.parameters
    assert back.result.reason == "x: y"
    assert np.isnan(back.result.history["valid_loss"][0])
    assert run.record("study", 4) is None


def test_a_run_is_that_of_just_this_benchmark_on_just_these_data(tmp_path):
    store = Store(tmp_path)
    with store.open_run(*about(Benchmark("b"))) as first:
        first.save_state()
    assert store.open_run(*about(Benchmark("b", budget=7.0))).folder == first.folder
    assert store.open_run(*about(Benchmark("b", seed=1))).folder != first.folder
    assert store.open_run("b", Benchmark("b").digest(), "e" * 64).folder != first.folder
    with store.open_run(*about(Benchmark("b")), fresh=True) as second:
        assert second.folder != first.folder
        assert first.folder.exists()
        second.save_state()
    assert store.open_run(*about(Benchmark("b"))).folder == second.folder


def test_a_run_that_was_moved_aside_is_not_taken_for_one(tmp_path):
    store = Store(tmp_path)
    with store.open_run(*about(Benchmark("b"))) as run:
        run.save_state()
    (run.folder / "run.json").write_text("{")
    with pytest.raises(InputError, match="run.json: is damaged; move the folder away"):
        store.open_run(*about(Benchmark("b")))
    run.folder.rename(run.folder.with_name(run.folder.name + ".bak"))
    assert store.open_run(*about(Benchmark("b"))).folder == run.folder


def test_rows_are_mapped_whole(tmp_path, digits):
    rows = Store(tmp_path).rows(digits)
    X, y = rows.load()
    assert np.array_equal(X, digits.X)
    assert np.array_equal(y, digits.y)
    assert sorted(os.listdir(rows.folder)) == ["X.npy", "y.npy"]


@pytest.mark.parametrize(
    "content", ["[]", "{}", "null", '{"benchmark": "b"}', '{"benchmark": 1}', "[" * 100_000, "unlogged", "seconds"]
)
def test_a_state_that_no_run_wrote_is_named(tmp_path, content):
    with Store(tmp_path).open_run(*about(Benchmark("b"))) as run:
        run.save_state(**({content: None} if content.isalpha() and content != "null" else {}))
    if not content.isalpha() or content == "null":
        (run.folder / "run.json").write_text(content)
    with pytest.raises(InputError, match="run.json: is damaged; move the folder away"):
        Store(tmp_path).open_run(*about(Benchmark("b")))


RESULT = TrialResult("complete", accuracy=1.0, log_loss=0.1, history={"step": [1.0]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds", "long"),
        ("seconds", math.inf),
        ("ended", -1.0),
        ("number", 4),
        ("number", True),
        ("parameters", []),
        ("default", None),
        ("other", 1),
    ],
)
def test_a_record_that_no_run_wrote_is_none(tmp_path, name, value):
    with Store(tmp_path).open_run(*about(Benchmark("b"))) as run:
        run.save_record(Trial("study", 3, {}, "", RESULT, 2.5, 9.0))
        path = run.trial_folder("study", 3) / "trial.json"
        content = json.loads(path.read_text())
        assert run.record("study", 3) == Trial("study", 3, {}, "", RESULT, 2.5, 9.0)
        path.write_text(json.dumps({**content, name: value}))
        assert run.record("study", 3) is None
        for key, wrong in (
            ("fit_seconds", math.nan),
            ("accuracy", None),
            ("status", "good"),
            ("schedule_share", 0),
            ("history", {"step": 1}),
        ):
            path.write_text(json.dumps({**content, "result": {**content["result"], key: wrong}}))
            assert run.record("study", 3) is None
        for key in ("parameters", "seconds", "ended"):
            path.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
            assert run.record("study", 3) is None, f"{key} is not what a trial that has not begun has"


def test_a_file_in_the_place_of_trials_is_named(tmp_path):
    run = Store(tmp_path).open_run(*about(Benchmark("b")))
    (run.folder / "trials").mkdir(parents=True)
    (run.folder / "trials" / "study").write_text("")
    with pytest.raises(InputError, match="trials/study: is a file in the place of a folder"), run:
        pass


def test_a_name_with_brackets_gets_a_new_folder_each_time(tmp_path):
    folders = []
    for _ in range(3):
        with Store(tmp_path).open_run(*about(Benchmark("tree[1]")), fresh=True) as run:
            run.save_state()
        folders.append(run.folder)
    assert len(set(folders)) == 3
    assert Store(tmp_path).open_run(*about(Benchmark("tree[1]"))).folder == folders[-1]


def read_journal(run):
    with run:
        run.save_state()
        run.journal.read_bytes()


def lose_the_folder(run):
    with run:
        shutil.rmtree(run.folder)
        run.save_state()


def read_elsewhere(run):
    with run:
        run.folder.with_name("elsewhere").read_bytes()


@pytest.mark.parametrize(
    ("work", "error", "words"),
    [
        (read_journal, InputError, "optuna.journal: was deleted while it was in use"),
        (lose_the_folder, InputError, "-1: was deleted while it was in use"),
        (read_elsewhere, FileNotFoundError, "elsewhere"),
    ],
)
def test_what_others_delete_of_a_run_in_use_is_named(tmp_path, work, error, words):
    run = Store(tmp_path / "mlruns").open_run(*about(Benchmark("b")))
    with pytest.raises(error, match=words):
        work(run)


def exchange(run):
    one, two = (run.trial_folder("bayes", number) / "valid_probabilities.npy" for number in (0, 1))
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)


def spoil(run, array):
    np.save(run.trial_folder("bayes", 0) / "valid_probabilities.npy", array)


NAME = "trials/bayes/0/valid_probabilities.npy"
HARMS = {
    "is missing": lambda run: (run.folder / NAME).unlink(),
    "cannot be read": lambda run: (run.folder / NAME).write_bytes(b"\x93NUMPY"),
    "does not hold": lambda run: spoil(run, run.valid_probabilities("bayes", 0)[1:]),
    "are not finite": lambda run: spoil(run, np.full_like(run.valid_probabilities("bayes", 0), np.nan)),
    "gives an accuracy of": exchange,
    "model.skops is missing": lambda run: run.model_file("bayes", 0).unlink(),
}


def test_a_trial_with_damaged_files_is_a_row_and_is_asked_again(small_benchmark, capsys, tmp_path):
    run = open_folder(newest_run("all", small_benchmark[0]))
    before = run.records("bayes")
    assert run.withdraw_damaged("bayes", 3) == []
    for reason, harm in HARMS.items():
        shutil.copytree(run.folder, tmp_path / reason)
        copy = Run(run.store, tmp_path / reason, "all")
        harm(copy)
        found = copy.withdraw_damaged("bayes", 3)
        assert found[0] == copy.record("bayes", 0) and found[0].parameters == before[0].parameters
        assert (found[0].result.status, found[0].result.accuracy) == ("interrupted", None)
        assert reason in found[0].result.reason
    HARMS["cannot be read"](run)
    assert main(["run", "all"]) == 0
    after = run.records("bayes")
    (again,) = (record for record in after[2:] if record.parameters == before[0].parameters)
    assert again.result.accuracy == before[0].result.accuracy
    assert "bayes trial 0 is tried again: valid_probabilities.npy cannot be read" in capsys.readouterr().out
    assert "cannot be read" in (run.folder / "report.md").read_text()
    main(["doctor"])
    assert "reports are whole" in capsys.readouterr().out


def test_rows_that_others_changed_are_written_again(tmp_path, digits):
    store = Store(tmp_path)
    rows = store.rows(digits)
    for harm in (
        lambda: shutil.rmtree(tmp_path / "cache"),
        lambda: np.save(rows.folder / "y.npy", digits.y[::-1]),
        lambda: (rows.folder / "X.npy").write_bytes((rows.folder / "X.npy").read_bytes()[:1000]),
        lambda: (rows.folder / "y.npy").write_bytes(b""),
    ):
        for again in (store, Store(tmp_path)):
            harm()
            X, y = again.rows(digits).load()
            assert np.array_equal(X, digits.X)
            assert np.array_equal(y, digits.y)
    before = {path: path.stat().st_mtime_ns for path in rows.folder.iterdir()}
    Store(tmp_path).rows(digits)
    assert {path: path.stat().st_mtime_ns for path in rows.folder.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "file" / "mlruns")


def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    pid = os.fork()
    if not pid:  # root may write everywhere, so a child that is not root tries
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            Store(tmp_path)
        except InputError as error:
            os._exit(0 if "cannot be written" in str(error) else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FREE_SPACE", 2**62)
    with pytest.raises(InputError, match="MiB free, at least"):
        Store(tmp_path)


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    module.write_text(path, "old")

    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(module.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        module.write_text(path, "new")
    assert path.read_text() == "old"


def test_a_run_that_is_damaged_does_not_hide_the_others(tmp_path):
    store = Store(tmp_path / "mlruns")
    with store.open_run(*about(Benchmark("b"))) as run:
        run.save_state()
    damaged = tmp_path / "mlruns" / "runs" / "c-1"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    assert open_folder(newest_run(store.folder)).folder == run.folder
