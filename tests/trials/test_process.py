import math
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import troublemakers

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.space import Spec
from fmnist_bench.config.study import DefaultConfiguration, SearchSpace, Study
from fmnist_bench.runner import check_benchmark
from fmnist_bench.storage.trial import TRAIN
from fmnist_bench.storage.trial_folder import LOG, MODEL, PROBABILITIES, RESULT
from fmnist_bench.trials.limits import Limits
from fmnist_bench.trials.process import answer_of_worker, check_in_worker, run_in_worker
from fmnist_bench.trials.stop import Stop


def run(job, on_report=lambda step, score: False, stop=None):
    return run_in_worker(job, on_report, stop or threading.Event())


def once_it_prints(job, then):
    """Call `then` when the trial of a job has printed something: it is in its fit, however slow the machine is."""
    log = job.folder.with_name(f"{job.folder.name}.tmp") / LOG

    def watch():
        while not (log.is_file() and log.stat().st_size):
            time.sleep(0.05)
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("kind", "words"),
    [("segfault", "crashed: was killed by SIGSEGV"), pytest.param("hang", "timeout: past its", marks=pytest.mark.slow)],
)
def test_a_model_that_was_scored_outlives_its_fine_tuning(make_job, kind, words):
    job = replace(make_job(kind, seconds=60.0), fine_tune=True)
    spec = Spec("troublemakers.TroubleInTuning", {"kind": kind})
    result = run(replace(job, study=Study(SearchSpace("trouble", spec))))
    assert (result.status, result.fine_tuned) == ("complete", 0.0)
    (warning,) = result.warnings
    assert words in warning and warning.endswith("the model is the one that was scored")
    assert (job.folder / MODEL).exists() and (job.folder / PROBABILITIES).exists()
    assert os.listdir(job.folder.parent) == [kind]


def test_a_model_that_is_fine_tuned_in_peace_is_the_result(make_job):
    job = replace(make_job("none", seconds=60.0), fine_tune=True)
    spec = Spec("troublemakers.TroubleInTuning", {"kind": "none"})
    result = run(replace(job, study=Study(SearchSpace("trouble", spec))))
    assert (result.status, result.fine_tuned, result.warnings) == ("complete", 0.25, [])
    assert sorted(os.listdir(job.folder)) == ["fine_tuned_probabilities.npy", LOG, MODEL, RESULT, PROBABILITIES]


def in_train_phase(job):
    return replace(job, trial=replace(job.trial, phase=TRAIN))


def test_a_whole_trial_leaves_its_files_and_nothing_else(make_job, split):
    job = make_job("none")
    result = run(job)
    assert result.status == "complete"
    probabilities = np.load(job.folder / PROBABILITIES)
    assert probabilities.shape == (len(split.validation), 10)
    assert probabilities.dtype == np.float32
    assert (job.folder / MODEL).exists()
    assert os.listdir(job.folder.parent) == ["none"]


def test_what_a_trial_warned_of_is_noted_in_one_line_and_stays_in_its_log(make_job):
    job = make_job("warn")
    result = run(job)
    assert (result.status, result.warnings) == ("complete", ["ConvergenceWarning: it did not converge"])
    assert "ConvergenceWarning" in (job.folder / LOG).read_text()


def test_whoever_cannot_take_a_report_does_not_make_the_trial_look_dead(make_job):
    def gone(step, score):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(make_job("report"), on_report=gone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hang", "hang_politely_asked"])
def test_a_trial_that_hangs_is_ended(make_job, kind):
    started = time.monotonic()
    job = make_job(kind, seconds=10.0)
    result = run(job)
    assert result.status == "timeout"
    assert "limit of 10 s" in result.reason
    assert time.monotonic() - started < 120
    pids = (job.folder.with_name(f"{kind}.tmp") / LOG).read_text().split()
    assert len(pids) == 2
    assert not any(_runs(int(pid)) for pid in pids)


@pytest.mark.parametrize(
    ("seconds", "limit", "given"),
    [(6000.0, None, 5970.0), (6000.0, 20.0, 20.0), (100.0, 6000.0, 95.0), (None, None, math.inf)],
)
def test_a_fit_is_told_when_it_must_be_over(make_job, seconds, limit, given):
    job = make_job("clock", seconds=seconds)
    assert run(replace(job, trial=replace(job.trial, limit=limit))).status == "complete"
    left = float((job.folder / LOG).read_text().split()[-1])
    assert given - 1000 <= left <= given, "less what the start of a worker took"


def test_a_trial_that_is_ended_leaves_no_temporary_files(make_job):
    job, stop = make_job("litter"), threading.Event()
    once_it_prints(job, stop.set)
    assert run(job, stop=stop).status == "interrupted"
    (path,) = (job.folder.with_name("litter.tmp") / LOG).read_text().split()
    assert Path(path).parent.name.startswith("fmnist_bench-")
    assert not Path(path).parent.exists()


def test_a_trial_that_has_trained_is_handed_in_although_its_time_is_over(make_job):
    assert run(make_job("slow_to_predict", seconds=6.0)).status == "complete"


def test_a_trial_that_is_ended_has_used_the_processor(make_job):
    result = run(make_job("work", seconds=3.0))
    assert result.status == "timeout"
    assert result.fit_cpu_seconds > 0


def test_a_trial_that_does_nothing_is_ended(make_job):
    started = time.monotonic()
    result = run(make_job("hang", stall=2.0))
    assert result.status == "timeout"
    assert "did nothing for 2 s" in result.reason
    assert time.monotonic() - started < 120


@pytest.mark.slow
def test_a_trial_that_works_in_silence_is_left_alone(make_job):
    assert run(make_job("work", stall=3.0)).status == "complete"


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_trial_that_eats_memory_is_ended(make_job):
    result = run(make_job("eat", memory=2**30, seconds=60.0))
    assert result.status == "out_of_memory"
    assert "limit 1.0 GiB" in result.reason


def test_a_segmentation_fault_is_a_row_with_its_last_words(make_job):
    result = run(make_job("segfault"))
    assert result.status == "crashed"
    assert "SIGSEGV" in result.reason
    assert "last words" in result.reason


def test_an_exception_is_a_row_with_type_and_place(make_job):
    result = run(make_job("raise"))
    assert result.status == "failed"
    assert result.reason.startswith("RuntimeError: no luck today (troublemakers.py, line")


def test_probabilities_that_are_not_finite_fail(make_job):
    job = make_job("nan")
    result = run(job)
    assert result.status == "failed"
    assert "not finite" in result.reason
    assert not (job.folder / MODEL).exists()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("foreign", "holds types that are not trusted: fractions.Fraction"),
        ("unsaved", "<lambda>"),
        ("no_step", "monitor: step -1 must be a whole number, at least 0"),
    ],
)
def test_a_model_that_nobody_could_load_again_fails_in_its_trial(make_job, kind, words):
    job = make_job(kind)
    result = run(job)
    assert result.status == "failed"
    assert words in result.reason
    assert str(job.folder) not in result.reason
    assert sorted(os.listdir(job.folder)) == [LOG, RESULT]


def test_a_model_that_predicts_something_else_once_it_is_loaded_fails(make_job):
    job = replace(make_job("none"), study=Study(SearchSpace("odd", Spec("troublemakers.Odd", {"kind": "forgetful"}))))
    result = run(job)
    assert (result.status, result.reason) == ("failed", "predicts something else after it was saved and loaded")
    assert result.fit_seconds > 0
    assert not (job.folder / MODEL).exists()


def test_what_cannot_be_built_fails_with_one_sentence(make_job):
    job = make_job("none")
    result = run(replace(job, trial=replace(job.trial, parameters={"model__depth": 3})))
    assert result.status == "failed"
    assert "depth" in result.reason and "Traceback" not in result.reason


def test_a_pool_of_processes_that_idles_does_not_keep_the_worker(make_job):
    """It did until the pool gave up, up to the two minutes after which a worker counts as hung."""
    result = run(make_job("pool", stall=20.0))
    assert result.status == "complete", result.reason


def test_a_worker_that_is_gone_before_anybody_looks_is_a_row(make_job):
    result = run(make_job("gone"))
    assert (result.status, result.reason) == ("crashed", "ended with exit status 3 and no result")
    done = subprocess.Popen(["true"])
    done.wait()
    limits = Limits(done.pid, SimpleNamespace(deadline=None, seconds=None, memory=1, stall=None))
    assert limits.passed() is None


def test_a_server_that_was_killed_is_started_again(make_job):
    job = make_job("none")
    assert run(job).status == "complete"
    server = forkserver._forkserver._forkserver_pid
    stages = make_job("stages")
    killer = once_it_prints(stages, lambda: os.kill(server, signal.SIGKILL))
    assert run(stages).status == "complete", "a trial that runs meanwhile goes on"
    killer.join()
    assert run(replace(job, folder=job.folder.with_name("again"))).status == "complete"
    assert forkserver._forkserver._forkserver_pid != server


def test_where_no_worker_can_be_started_the_trial_is_a_row(make_job, monkeypatch):
    monkeypatch.setattr("fmnist_bench.trials.process.PAUSE", 0.01)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/bin/false")
    result = run(make_job("none"))
    assert result.status == "crashed"
    assert result.reason.startswith("no worker process could be started: ")
    assert answer_of_worker(troublemakers.is_loaded, "os").startswith("no worker process could be started: ")


@pytest.mark.parametrize("kind", [bool, np.bool_])
def test_the_answer_to_a_report_prunes(make_job, kind):
    seen = []

    def on_report(step, score):
        seen.append((step, score))
        return kind(step == 3)  # Optuna's pruners answer with numpy's

    result = run(make_job("report"), on_report)
    assert result.status == "pruned"
    assert "step 3" in result.reason
    assert seen == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_stop_interrupts(make_job):
    job, stop = make_job("hang"), threading.Event()
    once_it_prints(job, stop.set)
    assert run(job, stop=stop).status == "interrupted"


def test_a_training_that_may_finish_hands_in_what_it_has(make_job):
    job, stop = in_train_phase(make_job("patient")), Stop()
    once_it_prints(job, stop.set)
    assert run(job, stop=stop).status == "complete"


def test_a_training_that_may_finish_is_ended_where_that_is_asked(make_job):
    stop = Stop()
    threading.Timer(0.5, stop.set).start()
    threading.Timer(1.0, stop.at_once.set).start()
    assert run(in_train_phase(make_job("hang")), stop=stop).status == "interrupted"


def test_a_training_that_does_not_finish_in_time_is_ended(make_job, monkeypatch):
    monkeypatch.setattr("fmnist_bench.trials.stop.LEAST_FINISH", 0.5)
    stop = Stop()
    stop.set()
    assert run(in_train_phase(make_job("hang")), stop=stop).status == "timeout"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Spec("sklearn.svm.SVCC", {}), "no class SVCC"),
        (Spec("sklearn.tree.DecisionTreeClassifier", {"depth": 3}), "no such argument; did you mean max_depth"),
        (Spec("troublemakers.NoProbabilities", {}), "has no predict_proba"),
        (Spec("troublemakers_elsewhere.X", {}), "not allowed"),
    ],
)
def test_a_study_that_cannot_be_built_is_refused(model, words):
    with pytest.raises(InputError, match=words):
        check_in_worker((Study(SearchSpace("bad", model)),), ("troublemakers",))


def test_a_module_that_is_not_allowed_is_never_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("import pathlib\npathlib.Path('imported').touch()\nclass X: pass\n")
    (tmp_path / "bad.toml").write_text('[model]\nuse = "stranger.X"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # from which the workers import, too
    with pytest.raises(InputError, match="not allowed"):
        check_benchmark("bad.toml", data="digits")
    assert not (tmp_path / "imported").exists()


def test_a_default_configuration_that_cannot_be_set_is_refused():
    defaults = (DefaultConfiguration("odd", {"model__depth": 3}),)
    with pytest.raises(InputError, match="no parameter model__depth"):
        check_in_worker(
            (Study(SearchSpace("bad", Spec("sklearn.tree.DecisionTreeClassifier", {}), defaults=defaults)),), ()
        )


@pytest.mark.parametrize("level", [{"model__depth": (1, 2)}, {"augment__steps": (1, 2)}])
def test_rungs_of_what_is_no_argument_are_refused(level):
    space = SearchSpace("bad", Spec("sklearn.tree.DecisionTreeClassifier", {}), fidelity=Fidelity(level))
    with pytest.raises(InputError, match=rf"\[fidelity\]: there is no parameter {next(iter(level))}"):
        check_in_worker((Study(space),), ())
    good = SearchSpace("good", space.model, fidelity=Fidelity({"model__max_depth": (1, 2), "rows": (0.5, 1.0)}))
    check_in_worker((Study(good),), ())


def test_a_worker_finds_out_whose_schedule_is_compressed():
    own, ours = "own_networks.", "fmnist_bench.models."
    models = [Spec(use, {}) for use in (f"{own}Linear", f"{own}Unlimited", f"{own}CutOff", f"{ours}CNNClassifier")]
    models += [Spec(f"{ours}TransferClassifier", {}), Spec("sklearn.svm.SVC", {"probability": True})]
    models += [Spec(f"{ours}HyperModelClassifier", {"hypermodel": Spec("hypermodels.Plain", {})})]
    studies = tuple(Study(SearchSpace(model.class_name, model)) for model in models)
    found = check_in_worker(studies, ("own_networks", "hypermodels"))
    assert found == {"Linear", "CNNClassifier", "TransferClassifier"}


def test_a_trial_that_is_stopped_when_all_is_done_is_complete(make_job):
    job, stop = make_job("none"), threading.Event()
    slow = replace(make_job("hang"), folder=job.folder)
    stop.set()
    assert run(slow, stop=stop).status == "interrupted"
    whole = run(job)
    assert run(slow, stop=stop) == whole
