"""Class probabilities in files of two bytes each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fmnist_bench._utils.probabilities import read_probabilities, save_probabilities

sizes = hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(2, 6)), elements=st.floats(-27, 0))


@given(sizes)
def test_probabilities_come_back_nearly_and_each_row_keeps_its_class(tmp_path_factory, powers):
    path = tmp_path_factory.getbasetemp() / "p.npy"
    probabilities = 10**powers / (10**powers).sum(axis=1, keepdims=True)
    save_probabilities(path, probabilities)
    found = read_probabilities(path, *probabilities.shape)
    assert np.load(path).dtype == np.float16
    np.testing.assert_allclose(found, probabilities, rtol=0.02)
    likely = probabilities > 0.02
    np.testing.assert_allclose(found[likely], probabilities[likely], rtol=0.002)
    assert (found.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_what_differs_by_less_than_can_be_written_keeps_its_order(tmp_path):
    tied = np.array([[0.3, 0.35, 0.35], [0.33333, 0.33334, 0.33333], [0.0, 0.499999, 0.500001]])
    save_probabilities(tmp_path / "p.npy", tied)
    assert read_probabilities(tmp_path / "p.npy", 3, 3).argmax(axis=1).tolist() == [1, 1, 2]


def test_certainty_stays_certain(tmp_path):
    save_probabilities(tmp_path / "p.npy", np.eye(3, dtype=np.float32))
    assert (read_probabilities(tmp_path / "p.npy", 3, 3) == np.eye(3)).all()


@pytest.mark.parametrize(
    "content", [np.zeros((3, 2), np.float16), np.zeros((2, 2), np.float64), np.full((2, 2), 1e4, np.float16), b"none"]
)
def test_what_is_no_table_of_so_many_rows_is_not_read(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "p.npy").write_bytes(content)
    else:
        np.save(tmp_path / "p.npy", content)
    assert read_probabilities(tmp_path / "p.npy", 2, 2) is None
    assert read_probabilities(tmp_path / "missing.npy", 2, 2) is None
