import keras
import numpy as np
import pytest

from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.models.networks._targets import DistillationLoss, encode, loss_and_accuracy

P = np.array([[0.9, 0.09, 0.01], [0.2, 0.5, 0.3]])


def test_a_temperature_softens_and_keeps_the_order():
    np.testing.assert_allclose(SoftTargets(P, temperature=1).softened(), P, atol=1e-6)
    soft = SoftTargets(P, temperature=4).softened()
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(soft.argsort(axis=1), P.argsort(axis=1))
    np.testing.assert_allclose(soft[0, 0] / soft[0, 2], 90 ** (1 / 4), rtol=1e-5)


def test_a_probability_of_zero_is_no_infinite_logarithm():
    assert np.isfinite(SoftTargets(np.array([[1.0, 0.0]])).softened()).all()


def test_soft_targets_stand_beside_the_labels():
    encoder, targets = encode(np.array(["b", "a"]), SoftTargets(P[:, :2], temperature=1))
    assert encoder.classes_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(targets[:, :2], [[0, 1], [1, 0]])
    np.testing.assert_allclose(targets[:, 2:].sum(axis=1), 1)


@pytest.mark.parametrize(
    ("soft", "words"),
    [
        (SoftTargets(P[:1]), r"shape \(1, 3\): must be 2 rows x 3 classes"),
        (SoftTargets(P[:, :2]), r"shape \(2, 2\): must be 2 rows x 3 classes"),
        (SoftTargets(P - 0.5), "must be probabilities"),
        (SoftTargets(P * np.nan), "must be probabilities"),
        (SoftTargets(P, temperature=0.5), "temperature=0.5 must be at least 1"),
        (SoftTargets(P, share=1.5), "share=1.5 from 0 to 1"),
    ],
)
def test_soft_targets_of_something_else_are_refused(soft, words):
    with pytest.raises(ValueError, match=words):
        soft.check(2, 3)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_the_loss_is_that_of_hinton_et_al():
    logits = np.array([[2.0, -1.0, 0.5], [0.3, 0.1, -2.0]], np.float32)
    labels, soft = np.eye(3, dtype=np.float32)[[0, 2]], SoftTargets(P, temperature=3.0, share=0.7)
    targets = np.concatenate([labels, soft.softened()], axis=1)
    hard = -(labels * np.log(softmax(logits))).sum(axis=1)
    softly = -(soft.softened() * np.log(softmax(logits / 3))).sum(axis=1)
    expected = (0.3 * hard + 0.7 * 9 * softly).mean()
    assert float(DistillationLoss(0.0, soft)(targets, logits)) == pytest.approx(expected, rel=1e-5)


def test_accuracy_counts_labels_and_not_the_teachers_answers():
    _, accuracy = loss_and_accuracy(0.0, SoftTargets(P))
    targets = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], np.float32)  # the teacher is wrong in both
    accuracy.update_state(targets, np.array([[3.0, -3.0], [-3.0, 3.0]], np.float32))
    assert float(keras.ops.convert_to_numpy(accuracy.result())) == 1.0
