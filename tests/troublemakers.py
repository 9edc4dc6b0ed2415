"""Classifiers that misbehave, for the tests of what a benchmark does about it."""

import os
import signal
import subprocess
import time

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from threadpoolctl import threadpool_info


class NoWeights(FileNotFoundError):
    """What a pretrained model raises."""

    status = "no_weights"


class Trouble(ClassifierMixin, BaseEstimator):
    """Predicts the frequencies of the classes, after some trouble."""

    def __init__(self, kind="none", seconds=0.0, number=0):
        self.kind = kind
        self.seconds = seconds
        self.number = number

    def fit(self, X, y, monitor=None):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.frequencies_ = counts / counts.sum()
        getattr(self, f"_{self.kind}")(monitor)
        return self

    def predict_proba(self, X):
        frequencies = np.full(len(self.classes_), np.nan) if self.kind == "nan" else self.frequencies_
        return np.tile(frequencies, (len(X), 1))

    def _none(self, monitor):
        time.sleep(self.seconds)

    _nan = _none

    def _hang(self, monitor):
        child = subprocess.Popen(["sleep", "600"])
        print(os.getpid(), child.pid, flush=True)
        while True:
            time.sleep(1)

    def _hang_politely_asked(self, monitor):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._hang(monitor)

    def _work(self, monitor):
        end = time.monotonic() + 6.0
        while time.monotonic() < end:
            pass

    def _cores(self, monitor):
        pools = [pool["num_threads"] for pool in threadpool_info()]
        print(len(os.sched_getaffinity(0)), *pools, flush=True)

    def _eat(self, monitor):
        self.food_ = []
        while True:
            self.food_.append(np.ones(2**22))  # 32 MiB
            time.sleep(0.02)

    def _segfault(self, monitor):
        print("last words", flush=True)
        os.kill(os.getpid(), 11)

    def _raise(self, monitor):
        raise RuntimeError("no luck today")

    def _no_weights(self, monitor):
        raise NoWeights("none here; get them there")

    def _report(self, monitor):
        for step in range(1, 6):
            monitor(step, step / 10)


class NoProbabilities(ClassifierMixin, BaseEstimator):
    """A classifier that cannot take part."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.repeat(self.classes_[:1], len(X))


class Doubler(BaseEstimator):
    """A sampler that appends every row once more."""

    def __init__(self, ratio=1.0):
        self.ratio = ratio

    def fit_resample(self, X, y):
        extra = round(self.ratio * len(X))
        return np.concatenate([X, X[:extra]]), np.concatenate([y, y[:extra]])
