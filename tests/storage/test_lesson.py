import numpy as np

from fmnist_bench.storage.lesson import Lesson, read_lesson

X, Y = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array([0, 1, 0])
OF_ROWS = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)


def test_synthetic_rows_get_the_label_that_the_teacher_finds_likeliest(tmp_path):
    images, answers = np.full((1, 4), 7, dtype=np.uint8), np.array([[0.3, 0.7]], dtype=np.float32)
    Lesson(OF_ROWS, images, answers).save(tmp_path / "l.npz")
    rows, codes, soft = read_lesson(tmp_path / "l.npz").added_to(X, Y)
    np.testing.assert_array_equal(rows, [*X, np.full((2, 2), 7)])
    np.testing.assert_array_equal(codes, [0, 1, 0, 1])
    np.testing.assert_array_equal(soft.probabilities, [*OF_ROWS, *answers])
    assert rows.dtype == np.uint8 and [path.name for path in tmp_path.iterdir()] == ["l.npz"]


def test_a_lesson_without_synthetic_rows_keeps_rows_and_labels():
    rows, codes, soft = Lesson(OF_ROWS, np.empty((0, 4), np.uint8), np.empty((0, 2))).added_to(X, Y)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(codes, Y)
    soft.check(3, 2)
