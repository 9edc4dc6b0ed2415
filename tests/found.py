"""What a benchmark found, for tests of what is drawn and written of it."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from fmnist_bench.report.contestant import Contestant, Importances
from fmnist_bench.report.findings import Findings
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial

NAMES = ("<b>", "a|b", "two & a half", '"three"', "$4$", "_five_", "six", "seven", "eight", "nine")


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # a PNG file


def contestant(name, trial, model, parts, n_trials):
    X_valid, X_test = parts
    valid, test = model.predict_proba(X_valid), model.predict_proba(X_test)
    return Contestant(name, trial, model.get_params(deep=False), n_trials, valid, test, 1.5, 0.25, 60.0)


def trial(study, number, result, seconds, ended, **parameters):
    return Trial(study, number, parameters, result=result, seconds=seconds, ended=ended)


@pytest.fixture(scope="module")
def findings():
    """Three studies on digits: one complete, one with pruned trials and histories, one that only failed."""
    X, y = load_digits(return_X_y=True)
    X_fit, X_rest, y_fit, y_rest = train_test_split(X / 16, y, test_size=0.6, stratify=y, random_state=0)
    X_valid, X_test, y_valid, y_test = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0)
    pixels = (X_test * 255).astype(np.uint8)
    parts = (X_valid, X_test)
    logistic = LogisticRegression(max_iter=500).fit(X_fit, y_fit)
    bayes = contestant("bayes<i>", 0, GaussianNB(var_smoothing=1e-2).fit(X_fit, y_fit), parts, {"complete": 1})
    trials = [trial("bayes<i>", 0, TrialResult("complete", accuracy=0.9, log_loss=0.5), 2.0, 2.0, var_smoothing=1e-2)]
    for number, alpha in enumerate((1e-4, 1e-1)):
        model, scores = SGDClassifier(loss="log_loss", alpha=alpha, random_state=0), []
        for _ in range(5):
            scores.append(float(model.partial_fit(X_fit, y_fit, classes=range(10)).score(X_valid, y_valid)))
        status = ("complete", "pruned")[number]
        history = {"valid_accuracy": scores, "step": [1, 2, 3, 4, 5]}
        result = TrialResult(status, accuracy=scores[-1], history=history)
        trials.append(trial("linear", number, result, 9.0, 11.0 + number, alpha=alpha))
    failed = TrialResult("failed", "ValueError: <script>alert(1)</script>")
    trials += [trial("svm", n, failed, 0.1, 13.0) for n in (0, 1)]
    linear = contestant("linear", 0, logistic, parts, {"complete": 1, "pruned": 1})
    ensemble = Contestant(
        *("ensemble", None, {}, {}),
        (linear.valid_probabilities + bayes.valid_probabilities) / 2,
        (linear.test_probabilities + bayes.test_probabilities) / 2,
        *(3.0, 0.5, 0.0),
    )
    return Findings(
        "Digits <1>",
        NAMES,
        y_valid,
        y_test,
        (linear, bayes),
        ensemble,
        (("linear", 0, 0.75), ("bayes<i>", 0, 0.25)),
        tuple(trials),
        {"machine": "two <cores>", "seed": "0"},
        {"Load": "from fmnist_bench import load_ensemble\nload_ensemble('a&b')"},
        X=pixels,
        image_shape=(8, 8),
        importances={"linear": Importances(9, {"alpha": 0.875}, {"alpha": True})},
    )
