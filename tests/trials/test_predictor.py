"""Saved models that predict in worker processes."""

import contextlib
import os
import signal
import threading

import numpy as np
import psutil
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.storage.trial_folder import MODEL
from fmnist_bench.trials.predictor import Predictor, predict_in_worker
from fmnist_bench.trials.process import run_in_worker


@pytest.fixture
def model(make_job):
    job = make_job("none")
    assert run_in_worker(job, lambda step, score: False, threading.Event()).status == "complete"
    return job.folder / MODEL


def test_a_prediction_that_does_not_end_is_given_up(model, digits, tmp_path):
    with pytest.raises(InputError, match="gave no answer within 0 s"):
        predict_in_worker(model, digits.X, tmp_path / "out.npy", ("troublemakers",), seconds=0.001)


def test_one_process_answers_as_often_as_it_is_asked(model, digits, tmp_path):
    with contextlib.closing(Predictor(model, ("troublemakers",))) as predictor:
        predictor.predict(digits.X, tmp_path / "all.npy")
        process, _ = predictor._worker
        predictor.predict(digits.X[:5], tmp_path / "five.npy")
        assert predictor._worker[0] is process
    assert not psutil.pid_exists(process.pid)
    assert np.load(tmp_path / "all.npy").shape == (1500, 10)
    np.testing.assert_array_equal(np.load(tmp_path / "five.npy"), np.load(tmp_path / "all.npy")[:5])


def test_a_process_that_died_between_two_questions_says_so(model, digits, tmp_path):
    with contextlib.closing(Predictor(model, ("troublemakers",))) as predictor:
        predictor.predict(digits.X[:5], tmp_path / "five.npy")
        os.kill(predictor._worker[0].pid, signal.SIGKILL)
        with pytest.raises(InputError, match="was killed by SIGKILL"):
            predictor.predict(digits.X, tmp_path / "all.npy")
    assert not (tmp_path / "all.npy").exists()
