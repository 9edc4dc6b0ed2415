"""The server of the workers: what it imports, when it is replaced, where its sockets lie."""

import gc
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import troublemakers

from fmnist_bench.trials.process import answer_of_worker
from fmnist_bench.trials.server import prepare

ROOT = Path(__file__).parents[2]


def send_whether_garbage_is_collected(_, connection):
    connection.send(gc.isenabled())


def test_workers_collect_garbage_though_the_server_imports_without():
    prepare(["sklearn.naive_bayes.GaussianNB"])
    assert answer_of_worker(send_whether_garbage_is_collected, None) is True


def test_nothing_that_takes_long_is_imported_before_the_server_is_started():
    code = "import fmnist_bench.runner, sys; print(sorted({'sklearn', 'pandas', 'scipy', 'optuna'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_call_that_is_refused_leaves_no_server_that_imports(tmp_path):
    (tmp_path / "no.csv").write_text("label\n")
    command = [sys.executable, "-m", "fmnist_bench", "run", "cnn", "--data", "no.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "said.txt").open("w+") as said:  # of a pipe the server would hold the other end
        assert subprocess.run(command, cwd=tmp_path, env=environment, stdout=said, stderr=said).returncode == 2
        assert "error: no.csv: holds no rows" in (tmp_path / "said.txt").read_text()
    left = [process.info for process in psutil.process_iter(["cwd", "cmdline"])]
    assert not [it for it in left if it["cwd"] == str(tmp_path) and "forkserver" in " ".join(it["cmdline"] or [])]


def test_a_server_that_was_started_for_less_is_replaced_when_it_idles():
    prepare(["wave.Wave_read"], ("wave",))
    assert answer_of_worker(troublemakers.is_loaded, "wave")
    child = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
    child.start()
    prepare(["tabnanny.check"], ("tabnanny",))
    assert not answer_of_worker(troublemakers.is_loaded, "tabnanny")
    assert child.is_alive()
    child.kill()
    child.join()
    prepare(["tabnanny.check"], ("tabnanny",))
    assert answer_of_worker(troublemakers.is_loaded, "tabnanny")


def test_a_temporary_folder_with_a_long_name_is_no_hindrance(tmp_path):
    folder = tmp_path / ("x" * 101)
    folder.mkdir()
    code = """
import sys
from fmnist_bench.trials.process import check_in_worker
from fmnist_bench.trials.server import prepare
from fmnist_bench.config.space import Spec
from fmnist_bench.config.study import SearchSpace, Study
if __name__ == "__main__":
    prepare(["sklearn.naive_bayes.GaussianNB"])
    check_in_worker((Study(SearchSpace("nb", Spec("sklearn.naive_bayes.GaussianNB", {}))),), ())
"""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []
