import contextlib
import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.config.space import Spec
from fmnist_bench.config.study import SearchSpace, Study
from fmnist_bench.storage.trial_folder import LOG, MODEL, PROBABILITIES, RESULT
from fmnist_bench.trials import _dask_supervisor
from fmnist_bench.trials.dask_cluster import Cluster
from fmnist_bench.trials.process import run_in_worker

pytest.importorskip("distributed")
pytestmark = pytest.mark.cluster
HERE = Path(__file__).parents[1]


class Dask:
    """A scheduler and workers, each a process of its own as `dask scheduler` and `dask worker` start it."""

    def __init__(self, folder, **environment):
        self.folder, self.processes = folder, []
        path = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
        self.environment = {**os.environ, "PYTHONPATH": path, **environment}
        self.start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(folder / "scheduler.json"))
        wait_until((folder / "scheduler.json").exists)
        self.address = json.loads((folder / "scheduler.json").read_text())["address"]

    def start(self, verb, *options):
        command = [sys.executable, "-m", "dask", verb, "--host", "127.0.0.1", *options]
        with (self.folder / f"{verb}-{len(self.processes)}.log").open("w") as log:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def start_worker(self, *options):
        local = self.folder / f"worker-{len(self.processes)}"
        self.start(
            "worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(local), *options
        )

    def connect(self, n_workers):
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(n_workers, timeout=30)
        return Cluster(self.address)

    def close(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """Two default workers: a nanny starts each again when it dies."""
    dask = Dask(tmp_path_factory.mktemp("dask"))
    dask.start_worker()
    dask.start_worker("--resources", "gpus=1")
    yield dask
    dask.close()


@pytest.fixture(scope="module")
def cluster(dask):
    cluster = dask.connect(2)
    yield cluster
    cluster.close()


@pytest.fixture
def frail(tmp_path):
    """Three workers that nobody starts again."""
    dask = Dask(tmp_path)
    for _ in range(3):
        dask.start_worker("--no-nanny")
    yield dask
    dask.close()


def run(cluster, job, on_report=lambda step, score: False, stop=None):
    return cluster.run(job, on_report, stop or threading.Event())


def test_what_an_augmentation_has_learnt_travels_with_the_trial(cluster, make_job, tmp_path):
    study = Study(
        SearchSpace("bayes", Spec("sklearn.naive_bayes.GaussianNB", {})),
        (Spec("troublemakers.Copyist", {"ratio": 0.1}),),
    )
    job = make_job("none")
    X, y = job.rows.load()
    with (tmp_path / "learnt").open("w+b") as file:
        np.savez(file, means=np.stack([X[y == label].mean(axis=0) for label in np.unique(y)]), classes=np.unique(y))
        file.flush()
        of_this_process_alone = Path(f"/proc/self/fd/{file.fileno()}")
        job = dataclasses.replace(job, study=study, generator=of_this_process_alone)
        result = run(cluster, job)
    assert (result.status, result.reason) == ("complete", "")


def sleeper(make_job, seconds, name="sleeper", **changes):
    study = Study(SearchSpace("trouble", Spec("troublemakers.Trouble", {"kind": "none", "seconds": seconds})))
    job = make_job("none")
    return dataclasses.replace(job, study=study, folder=job.folder.with_name(name), **changes)


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def busy_worker(cluster, but=()):
    """Return the address, the process and the trial's process of the worker that has a trial."""

    def look():
        for address, pid in cluster.client.run(os.getpid, on_error="ignore").items():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                # The trial is a child of the process that forks, beside what a process pool of Dask may have started.
                trials = [grandchild for child in worker.children() for grandchild in child.children()]
                if trials and address not in but:
                    return address, worker, trials[0]
        return None

    return wait_until(look)


def has_ended(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_trial_leaves_what_it_leaves_here(cluster, make_job):
    job = make_job("none")
    there, here = job.folder, job.folder.with_name("here")
    assert run(cluster, job).status == "complete"
    assert (
        run_in_worker(dataclasses.replace(job, folder=here), lambda *_: False, threading.Event()).status == "complete"
    )
    assert sorted(os.listdir(there.parent)) == ["here", "none"]
    assert sorted(os.listdir(there)) == sorted(os.listdir(here)) == sorted([LOG, MODEL, PROBABILITIES, RESULT])
    assert np.array_equal(np.load(there / PROBABILITIES), np.load(here / PROBABILITIES))
    remote, local = (json.loads((folder / RESULT).read_text()) for folder in (there, here))
    assert remote["accuracy"] == local["accuracy"]
    assert remote["log_loss"] == local["log_loss"]


def test_the_rows_travel_once_a_worker_and_nothing_stays_behind(cluster, dask, make_job):
    def files():
        return {path: path.stat().st_ino for path in dask.folder.glob("worker-*/**/rows*/X.npy")}

    def run_four(name):
        jobs = [sleeper(make_job, 0.5, f"{name}-{n}") for n in range(4)]
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda job: run(cluster, job).status, jobs))

    assert run_four("first") == ["complete"] * 4
    travelled = files()
    assert len(travelled) == 2
    wait_until(lambda: cluster.client.run_on_scheduler(kept)[0] == 1)
    before = cluster.client.run_on_scheduler(kept)
    assert run_four("second") == ["complete"] * 4
    assert files() == travelled
    assert not list(dask.folder.glob("worker-*/**/trial-*"))
    wait_until(lambda: cluster.client.run_on_scheduler(kept) == before)


def kept(dask_scheduler):
    """Count what a scheduler remembers: tasks, their groups, the statistics of groups."""
    there = dask_scheduler
    return [len(of) for of in (there.tasks, there.task_groups, there.task_prefixes, there.extensions["spans"].spans)]


def test_a_long_computation_tells_across_the_wire_how_far_it_is(cluster, make_job):
    seen = []
    result = run(cluster, make_job("stages"), lambda step, score: seen.append((step, score)))
    assert result.status == "complete"
    assert seen and all(what == "counting" and 0 < share <= 1 for what, share in seen)


def test_the_answer_to_a_report_prunes_across_the_wire(cluster, make_job):
    seen = []

    def on_report(step, score):
        seen.append((step, score))
        return step == 3

    result = run(cluster, make_job("report"), on_report)
    assert result.status == "pruned"
    assert seen == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_an_answer_that_comes_too_late_holds_nobody_up(cluster, make_job):
    patience = _dask_supervisor.ANSWER
    cluster.client.run(wait_for_answers, 0.5)
    try:
        result = run(cluster, make_job("report"), lambda step, score: step == 2 and time.sleep(3) is None)
    finally:
        cluster.client.run(wait_for_answers, patience)
    assert result.status == "complete"


def wait_for_answers(seconds):
    _dask_supervisor.ANSWER = seconds


def test_a_trial_that_hangs_is_ended_with_its_log(cluster, make_job):
    job = make_job("hang", seconds=2.0)
    result = run(cluster, job)
    assert (result.status, result.reason) == ("timeout", "past its limit of 2 s")
    assert len((job.folder.with_name("hang.tmp") / LOG).read_text().split()) == 2


def test_an_exception_is_a_row_with_type_and_place(cluster, make_job):
    result = run(cluster, make_job("raise"))
    assert result.status == "failed"
    assert result.reason.startswith("RuntimeError: no luck today (troublemakers.py, line")


def test_a_stop_ends_the_trial_at_the_worker(cluster, make_job):
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run, cluster, make_job("hang"), stop=stop)
        _, _, trial = busy_worker(cluster)
        stop.set()
        assert future.result(5).status == "interrupted"
    wait_until(lambda: has_ended(trial), 10)


def test_a_worker_that_dies_gives_its_trial_back(cluster, make_job, caplog):
    job = sleeper(make_job, 2.0)
    with ThreadPoolExecutor(1) as threads, caplog.at_level(logging.WARNING, "fmnist_bench"):
        future = threads.submit(run, cluster, job)
        address, worker, trial = busy_worker(cluster)
        worker.kill()
        assert future.result(30).status == "complete"
    assert f"{address} died; begun again" in caplog.text
    assert (job.folder / PROBABILITIES).exists()
    wait_until(lambda: has_ended(trial), 5)


def test_a_trial_whose_workers_die_twice_has_crashed(cluster, make_job):
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run, cluster, sleeper(make_job, 60.0))
        first, worker, _ = busy_worker(cluster)
        worker.kill()
        second, worker, _ = busy_worker(cluster, but=[first])
        worker.kill()
        result = future.result(30)
    assert (result.status, result.reason) == ("crashed", f"the Dask workers that ran it died: {first}, {second}")


def test_a_trial_that_is_begun_again_has_no_more_time_than_before(cluster, make_job, monkeypatch):
    monkeypatch.setattr("fmnist_bench.trials.dask_cluster.OVERTIME", 0.0)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run, cluster, dataclasses.replace(sleeper(make_job, 60.0), seconds=15.0))
        _, worker, _ = busy_worker(cluster)
        time.sleep(5)
        worker.kill()
        result = future.result(60)
    assert result.status == "timeout"
    assert time.monotonic() - started < 27, "not 5 and 15 seconds more"


COORDINATOR = """
import pickle, sys, threading
from fmnist_bench.cli import main
from fmnist_bench.trials.dask_cluster import Cluster
job = pickle.load(open(sys.argv[2], "rb"))
Cluster(sys.argv[1]).run(job, lambda *_: False, threading.Event())
"""


def test_a_trial_ends_with_its_coordinator(cluster, make_job, tmp_path):
    (tmp_path / "job").write_bytes(pickle.dumps(make_job("hang")))
    command = [sys.executable, "-c", COORDINATOR, cluster.address, str(tmp_path / "job")]
    coordinator = subprocess.Popen(command, cwd=HERE.parent)
    _, _, trial = busy_worker(cluster)
    coordinator.kill()
    coordinator.wait()
    wait_until(lambda: has_ended(trial), 10)


def test_a_trial_runs_where_its_resources_are(cluster, make_job):
    wait_until(lambda: cluster.capacity == 2)
    job = sleeper(make_job, 2.0, resources={"gpus": 1})
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run, cluster, job)
        assert cluster.offers()[busy_worker(cluster)[0]].resources == {"gpus": 1}
        assert future.result(30).status == "complete"


def test_what_no_worker_has_is_refused_at_once(cluster):
    wait_until(lambda: cluster.capacity == 2)
    cluster.check({"gpus": 1}, "study a")
    words = r"study b: asks one worker for gpus = 2; tcp.* has gpus = 1; no resources$"
    with pytest.raises(InputError, match=words):
        cluster.check({"gpus": 2}, "study b")


def test_what_dies_and_is_not_started_again(frail, make_job, monkeypatch):
    """One after the other: all of a batch job at once, a worker, the only worker left, the scheduler."""
    cluster = frail.connect(3)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run, cluster, sleeper(make_job, 2.0, "job"))
        _, worker, _ = busy_worker(cluster)
        for process in [*worker.children(recursive=True), worker]:
            process.terminate()
        assert future.result(30).status == "complete"

        future = threads.submit(run, cluster, sleeper(make_job, 2.0, "worker"))
        _, worker, _ = busy_worker(cluster)
        worker.kill()
        assert future.result(30).status == "complete"

        monkeypatch.setattr("fmnist_bench.trials.dask_cluster.OVERTIME", 0.0)
        future = threads.submit(run, cluster, dataclasses.replace(sleeper(make_job, 60.0, "last"), seconds=8.0))
        address, worker, _ = busy_worker(cluster)
        worker.kill()
        result = future.result(30)
        assert (result.status, result.reason) == (
            "timeout",
            f"{address} died, and its time did not suffice to begin again",
        )
        job = dataclasses.replace(sleeper(make_job, 60.0, "none"), seconds=1.0)
        result = run(cluster, job)
        assert (result.status, result.reason) == ("timeout", "no worker was free for it within its limit of 1 s")

        future = threads.submit(run, cluster, sleeper(make_job, 60.0, "lost"))
        frail.processes[0].kill()
        with pytest.raises(InputError, match="the Dask scheduler is gone"):
            future.result(30)
    cluster.close()


def test_nobody_at_the_address_is_said_within_seconds():
    started = time.monotonic()
    with pytest.raises(InputError, match="tcp://127.0.0.1:9: no Dask scheduler answers there"):
        Cluster("tcp://127.0.0.1:9", timeout=2)
    assert time.monotonic() - started < 8
    with pytest.raises(InputError, match="cluster://x: no Dask scheduler"):
        Cluster("cluster://x", timeout=2)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match='pip install "distributed'):
        Cluster("tcp://127.0.0.1:9")


def test_workers_that_are_missing_or_other_than_here_are_refused(tmp_path):
    metadata = tmp_path / "other" / "keras-0.1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: keras\nVersion: 0.1\n")
    path = os.pathsep.join([str(tmp_path / "other"), str(HERE.parent), *sys.path])
    with contextlib.closing(Dask(tmp_path, PYTHONPATH=path)) as dask:
        with pytest.raises(InputError, match="has no workers; start some: dask worker tcp"):
            Cluster(dask.address)
        dask.start_worker("--no-nanny")
        with pytest.raises(InputError, match=r"worker tcp.* has keras 0.1, here is \d"):
            dask.connect(1)


def test_a_benchmark_runs_from_the_command_line(dask, arena, capsys):
    arena(
        "studies/bayes.toml",
        '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = { low = 1e-9, high = 0.1 }\n',
    )
    arena("b.toml", 'data = "digits"\nvalid_size = 0.2\ntrials = 3\nstudies = ["bayes"]\n')
    assert main(["run", "b.toml", "--cluster", dask.address]) == 0
    assert any(line.startswith("ensemble ") for line in capsys.readouterr().out.splitlines())
    statuses = [json.loads(p.read_text())["status"] for p in Path("mlruns").glob("runs/b-*/trials/bayes/*/result.json")]
    assert statuses == ["complete"] * 3
    assert main(["run", "b.toml", "--fresh", "--workers", "2", "--cluster", dask.address]) == 2
    assert "whose workers set the number" in capsys.readouterr().err
