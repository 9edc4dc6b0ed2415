import hypermodels
import numpy as np
import pytest
from sklearn.svm import SVC

from fmnist_bench._utils.errors import PredictionError
from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.models import CNNClassifier, distill
from fmnist_bench.models.networks.hypermodel import HyperModelClassifier
from fmnist_bench.models.saved import load_model, save_model

SMALL = {"n_convs": 2, "filters": 16, "batch_size": 32, "epochs": 10, "flip": False, "random_state": 0}


class Oracle:
    """A teacher that is sure of the true labels."""

    def __init__(self, X, y):
        self.known, self.classes_ = {row.tobytes(): label for row, label in zip(X, y, strict=True)}, np.unique(y)

    def predict_proba(self, X):
        codes = np.searchsorted(self.classes_, [self.known[row.tobytes()] for row in np.asarray(X)])
        return 0.9 * np.eye(len(self.classes_))[codes] + 0.1 / len(self.classes_)


@pytest.fixture(scope="module")
def rows(digits):
    return digits.X[:1400], digits.y[:1400], digits.X[1400:], digits.y[1400:]


@pytest.fixture(scope="module")
def taught(rows):
    """A student that was given wrong labels, and a teacher who knows."""
    X, y, *_ = rows
    wrong = np.random.default_rng(0).permutation(y)
    return distill(CNNClassifier(**SMALL), Oracle(X, y), X, wrong, share=1.0)


def test_a_student_learns_what_only_its_teacher_knows(taught, rows):
    _, _, X, y = rows
    assert taught.score(X, y) > 0.85
    assert taught.history_["fit_accuracy"][-1] < 0.3  # of the labels that it was given


def test_a_student_travels_without_its_teacher(taught, rows, tmp_path):
    save_model(taught, tmp_path / "student.skops")
    again = load_model(tmp_path / "student.skops")
    np.testing.assert_array_equal(again.predict_proba(rows[2]), taught.predict_proba(rows[2]))
    assert type(again) is CNNClassifier


def test_rows_without_labels_get_the_teachers(rows):
    X, y, X_test, y_test = rows
    few = np.concatenate([np.flatnonzero(y == label)[:2] for label in range(10)])
    student = distill(CNNClassifier(**SMALL), Oracle(X, y), X[few], y[few], X_unlabelled=X)
    assert student.score(X_test, y_test) > 0.8


def test_a_teacher_of_other_classes_is_refused(rows):
    X, y, *_ = rows
    teacher = Oracle(X[y < 3], y[y < 3])
    with pytest.raises(PredictionError, match="predicts 3 classes, the data have 10"):
        distill(CNNClassifier(**SMALL), teacher, X, y)


def test_a_teacher_without_probabilities_is_refused(rows):
    X, y, *_ = rows
    with pytest.raises(AttributeError, match="predict_proba"):
        distill(CNNClassifier(**SMALL), SVC().fit(X[:100], y[:100]), X[:100], y[:100])


def test_a_hypermodel_has_a_loss_of_its_own(rows):
    X, y, *_ = rows
    model = HyperModelClassifier(hypermodels.Plain(), epochs=1)
    with pytest.raises(ValueError, match="soft targets: a HyperModel compiles its network with a loss of its own"):
        model.fit(X, y, soft_targets=SoftTargets(np.eye(10)[y]))
