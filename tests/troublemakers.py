"""Classifiers that misbehave, for the tests of what a benchmark does about it."""

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from fractions import Fraction

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_info

from fmnist_bench._utils import early_end
from fmnist_bench._utils.stage_progress import in_parts


class NoWeights(FileNotFoundError):
    """What a pretrained model raises."""

    status = "no_weights"


class Finished(RuntimeError):
    """An error that says of itself what no error can be."""

    status = "complete"


class Trouble(ClassifierMixin, BaseEstimator):
    """Predicts the frequencies of the classes, after some trouble."""

    takes_monitor = takes_deadline = True

    def __init__(self, kind="none", seconds=0.0, number=0):
        self.kind = kind
        self.seconds = seconds
        self.number = number

    def fit(self, X, y, monitor=None, deadline=None):
        self.left_ = math.inf if deadline is None else deadline - time.monotonic()
        self.classes_, counts = np.unique(y, return_counts=True)
        self.frequencies_ = counts / counts.sum()
        getattr(self, f"_{self.kind}")(monitor)
        return self

    def predict_proba(self, X):
        if self.kind == "slow_to_predict" and len(X) > 200:  # the validation rows, not the few of the check
            time.sleep(7.0)
        frequencies = np.full(len(self.classes_), np.nan) if self.kind == "nan" else self.frequencies_
        return np.tile(frequencies, (len(X), 1))

    def _none(self, monitor):
        time.sleep(self.seconds)

    _nan = _slow_to_predict = _none

    def _warn(self, monitor):
        for _ in range(3):
            warnings.warn("it did not\nconverge", ConvergenceWarning, stacklevel=1)

    def _hang(self, monitor):
        child = subprocess.Popen(["sleep", "600"])
        print(os.getpid(), child.pid, flush=True)
        while True:
            time.sleep(1)

    def _clock(self, monitor):
        """Print the seconds that it is given."""
        print(self.left_, flush=True)

    def _litter(self, monitor):
        """Leave a temporary file."""
        print(tempfile.mkstemp()[1], flush=True)
        while True:
            time.sleep(1)

    def _patient(self, monitor):
        """Train until it is asked to come to an end."""
        print("begun", flush=True)
        while math.isinf(early_end.moment()):
            time.sleep(0.05)

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
        if monitor is not None:
            monitor(1, 0.3)
        print("last words", flush=True)
        os.kill(os.getpid(), 11)

    def _raise(self, monitor):
        raise RuntimeError("no luck today")

    def _unprintable(self, monitor):
        raise ValueError("no file \udcff, \x1b]0;a title\x07 but a bell")

    def _finished(self, monitor):
        raise Finished("all is well")

    def _no_schedule(self, monitor):
        self.schedule_share_ = 0.0

    def _odd_history(self, monitor):
        self.history_ = ["an epoch", "another one"]

    def _no_step(self, monitor):
        monitor(-1, 0.5)

    def _foreign(self, monitor):
        self.share_ = Fraction(1, 3)  # of a type that no saved model may be made of

    def _unsaved(self, monitor):
        self.tool_ = lambda x: x

    def _pool(self, monitor):
        from joblib import Parallel, delayed

        Parallel(2, backend="loky")(delayed(abs)(-i) for i in range(2))

    def _gone(self, monitor):
        os._exit(3)

    def _no_weights(self, monitor):
        raise NoWeights("none here; get them there")

    def _stages(self, monitor):
        print("begun", flush=True)
        for _ in in_parts("counting", range(20)):
            time.sleep(0.1)

    def _report(self, monitor):
        for step in range(1, 6):
            monitor(step, step / 10)


class TroubleInTuning(Trouble):
    """Has its trouble when it is fine-tuned."""

    def fit(self, X, y, monitor=None, deadline=None):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.frequencies_ = counts / counts.sum()
        return self

    def fine_tune(self, X, y, validation_data, checkpoint=None, deadline=None):
        getattr(self, f"_{self.kind}")(None)
        return self


class Pretrained(Trouble):
    """Looks for weights, and finds none."""

    def __init__(self, weights_dir=None):
        super().__init__()
        self.weights_dir = weights_dir

    def fit(self, X, y, monitor=None):
        raise NoWeights(f"none in {self.weights_dir}")


TEST_ROWS = 297  # of digits: neither a trial nor its check predicts just so many


class Odd(GaussianNB):
    """A good classifier, but for what its predictions look like."""

    def __init__(self, kind="none"):
        super().__init__()
        self.kind = kind

    def fit(self, X, y):
        super().fit(X, y)
        if self.kind == "more":
            self.classes_ = np.arange(15)
        if self.kind == "reversed":
            self.classes_ = self.classes_[::-1].copy()
        self.memory_ = [1]
        return self

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "memory_"}

    def predict_proba(self, X):
        if self.kind == "reversed":
            classes, self.classes_ = self.classes_, np.sort(self.classes_)
            try:
                return super().predict_proba(X)[:, ::-1]
            finally:
                self.classes_ = classes
        found = GaussianNB.predict_proba(self, X) if self.kind != "more" else np.full((len(X), 15), 1 / 15)
        odd = {
            "columns": lambda: found[:, :9],
            "rows": lambda: found[1:],
            "flat": lambda: found[:, 0],
            "negative": lambda: np.log(found + 0.01),
            "zeros": lambda: np.zeros_like(found),
            "scores": lambda: 3 * found,
            "forgetful": lambda: found if hasattr(self, "memory_") else np.roll(found, 1, axis=1),
        }
        if len(X) == TEST_ROWS:
            odd |= {"test_nan": lambda: np.nan * found, "test_dies": lambda: os.kill(os.getpid(), signal.SIGKILL)}
        return odd.get(self.kind, lambda: found)()


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


class Copyist(BaseEstimator):
    """A sampler that learns once: the mean image of each class, which it appends."""

    def __init__(self, ratio=1.0, generator=None, random_state=None, talent=True):
        self.ratio = ratio
        self.generator = generator
        self.random_state = random_state
        self.talent = talent

    def fit(self, X, y, monitor=None):
        if not self.talent:
            raise RuntimeError("its images are all alike")
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == label].mean(axis=0) for label in self.classes_]).astype(np.uint8)
        self.history_ = {"step": [1000], "fidelity": [0.9]}
        if monitor is not None:
            monitor(1000, 0.9)
        return self

    def save(self, path):
        with open(path, "wb") as file:
            np.savez(file, means=self.means_, classes=self.classes_)

    def sample(self, n, y, random_state=None):
        return self.means_[np.searchsorted(self.classes_, y)], y

    def fit_resample(self, X, y):
        with np.load(self.generator) as learnt:  # and fails where nobody has prepared it
            means, classes = learnt["means"], learnt["classes"]
        extra = round(self.ratio * len(X))
        labels = np.resize(classes, extra)
        return np.concatenate([X, means[labels]]), np.concatenate([y, labels])


class OtherCopyist(Copyist):
    """Another one that learns."""


def is_loaded(module, connection):
    """Say whether this process has a module without having asked for it."""
    connection.send(module in sys.modules)
