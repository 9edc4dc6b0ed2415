"""Data without test rows get some of their own, in every format; what is in use is not read again."""

import numpy as np
import pandas as pd
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data import dataset as datasets
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.describe import describe
from fmnist_bench.data.readers import rows

N = 60
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 5, 5)).astype(np.uint8)
LABELS = np.arange(N) % 3
NOTE = "no test rows were given: 10 of 60 rows, a sixth of each class, are held out (seed 0)"


def as_npz(folder, images="x_train", labels="y_train", **more):
    np.savez(folder / "own.npz", **{images: IMAGES, labels: LABELS}, **more)
    return folder / "own.npz"


def as_table(folder, name="own.csv"):
    frame = pd.DataFrame(IMAGES.reshape(N, -1)).add_prefix("pixel").assign(label=LABELS)
    path = folder / name
    frame.to_parquet(path) if name.endswith(".parquet") else frame.to_csv(path, index=False)
    return path


def as_idx(folder):
    for name, array in (("train-images-idx3-ubyte", IMAGES), ("train-labels-idx1-ubyte", LABELS.astype(np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        (folder / name).write_bytes(head + array.tobytes())
    return folder


FORMS = {
    "Keras' names": as_npz,
    "MedMNIST's names": lambda folder: as_npz(folder, "train_images", "train_labels"),
    "X and y": lambda folder: as_npz(folder, "X", "y"),
    "images and labels": lambda folder: as_npz(folder, "images", "labels"),
    "one table": as_table,
    "a table of train rows": lambda folder: as_table(folder, "own_train.csv"),
    "a folder of tables": lambda folder: as_table(folder, "own_train.csv").parent,
    "a shard": lambda folder: as_table(folder, "train-00000-of-00001.parquet"),
    "IDX files": as_idx,
}


@pytest.mark.parametrize("form", FORMS)
def test_data_without_test_rows_have_a_sixth_of_each_class_held_out(tmp_path, form):
    path = FORMS[form](tmp_path)
    train, test = load_dataset(path), load_dataset(path, "test")
    assert sorted(np.bincount(test.y).tolist()) == [3, 3, 4] and len(train.y) == 50
    both = {row.tobytes() for row in np.concatenate([train.X, test.X])}
    assert both == {image.tobytes() for image in IMAGES}
    assert train.notes == test.notes == (NOTE,)
    assert f"  note         {NOTE}" in describe(path).splitlines()
    assert load_dataset(path, "test").fingerprint == test.fingerprint


def test_official_validation_rows_stay_where_test_rows_are_held_out(tmp_path):
    data = load_dataset(as_npz(tmp_path, x_val=IMAGES[:6], y_val=LABELS[:6]))
    assert len(data.official_split.train) == 50
    np.testing.assert_array_equal(data.X[data.official_split.validation], IMAGES[:6].reshape(6, -1))


def test_rows_that_may_be_the_test_rows_are_not_passed_over(tmp_path):
    with pytest.raises(InputError, match="array x_test is missing; did you mean X_test"):
        load_dataset(as_npz(tmp_path, X_test=IMAGES))
    with pytest.raises(InputError, match="array y_test is missing"):
        load_dataset(as_npz(tmp_path, x_test=IMAGES))
    as_table(tmp_path, "own_train.csv")
    (tmp_path / "other_test.csv").write_text("")
    with pytest.raises(InputError, match=r"other_test\.csv may be the test rows; needed: own_test\.csv"):
        load_dataset(tmp_path / "own_train.csv")
    with pytest.raises(InputError, match="is called as test rows are; name the table of the train rows"):
        load_dataset(tmp_path / "other_test.csv")
    (as_idx(tmp_path) / "t10k-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(InputError, match="lacks t10k-labels-idx1-ubyte"):
        load_dataset(tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """How often train rows were read."""
    calls = []
    read = rows.read_train
    monkeypatch.setattr(datasets, "read_train", lambda path, how: calls.append(path) or read(path, how))
    return calls


def test_train_rows_in_use_are_not_read_again(tmp_path, reads, monkeypatch):
    as_table(tmp_path, "own_train.csv")
    test = as_table(tmp_path, "own_test.csv")
    monkeypatch.setattr(datasets, "SETTLED", 0)
    train = load_dataset(tmp_path)
    assert load_dataset(tmp_path) is train
    np.testing.assert_array_equal(load_dataset(tmp_path, "test").X, train.X)
    assert len(reads) == 1
    assert load_dataset(tmp_path, resize=3).image_shape == (3, 3)
    assert len(reads) == 2, "read in another way"
    train = load_dataset(tmp_path)
    test.write_text(test.read_text())
    assert load_dataset(tmp_path) is not train, "a file was written again"
    assert len(reads) == 4
    del train
    load_dataset(tmp_path)
    assert len(reads) == 5, "nobody has them"


def test_files_that_were_just_written_are_not_trusted(tmp_path, reads):
    path = as_table(tmp_path, "own_train.csv")
    train = load_dataset(path)
    assert load_dataset(path).fingerprint == train.fingerprint and len(reads) == 2
