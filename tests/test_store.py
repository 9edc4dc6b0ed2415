import errno
import os

import numpy as np
import pytest

from fmnist_bench import store as module
from fmnist_bench.errors import InputError
from fmnist_bench.store import Store, TrialRecord
from fmnist_bench.study import Benchmark
from fmnist_bench.trial import TrialResult


def test_records_come_back_as_they_were(tmp_path):
    with Store(tmp_path).open_run(Benchmark("b"), "f" * 64) as run:
        result = TrialResult("failed", "x: y", history={"step": [1.0], "valid_loss": [float("nan")]})
        record = TrialRecord("arm", 3, {"model__C": 1.5, "model__kernel": "rbf"}, "known", result, 2.5, 9.0)
        run.save_record(record)
        (back,) = run.records("arm")
    assert back.parameters == record.parameters
    assert back.result.reason == "x: y"
    assert np.isnan(back.result.history["valid_loss"][0])
    assert run.record("arm", 4) is None


def test_a_run_is_that_of_just_this_benchmark_on_just_these_data(tmp_path):
    store = Store(tmp_path)
    with store.open_run(Benchmark("b"), "f" * 64) as first:
        first.save_state()
    assert store.open_run(Benchmark("b", budget=7.0), "f" * 64).folder == first.folder
    assert store.open_run(Benchmark("b", seed=1), "f" * 64).folder != first.folder
    assert store.open_run(Benchmark("b"), "e" * 64).folder != first.folder
    with store.open_run(Benchmark("b"), "f" * 64, fresh=True) as second:
        assert second.folder != first.folder
        assert first.folder.exists()
        second.save_state()
    assert store.open_run(Benchmark("b"), "f" * 64).folder == second.folder


def test_a_run_that_was_moved_aside_is_not_taken_for_one(tmp_path):
    store = Store(tmp_path)
    with store.open_run(Benchmark("b"), "f" * 64) as run:
        run.save_state()
    (run.folder / "run.json").write_text("{")
    with pytest.raises(InputError, match="run.json: is damaged; move the folder away"):
        store.open_run(Benchmark("b"), "f" * 64)
    run.folder.rename(run.folder.with_name(run.folder.name + ".bak"))
    assert store.open_run(Benchmark("b"), "f" * 64).folder == run.folder


def test_rows_are_mapped_whole(tmp_path, digits):
    rows = Store(tmp_path).rows(digits)
    X, y = rows.load()
    assert np.array_equal(X, digits.X)
    assert np.array_equal(y, digits.y)
    assert sorted(os.listdir(rows.folder)) == ["X.npy", "y.npy"]


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
    with store.open_run(Benchmark("b"), "f" * 64) as run:
        run.save_state()
    damaged = tmp_path / "mlruns" / "runs" / "c-1"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    assert store.latest_run().folder == run.folder
