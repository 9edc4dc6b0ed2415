"""The relatives of Fashion-MNIST are read as they are distributed, in tiny files of their layouts."""

import gzip
import re
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.describe import describe
from fmnist_bench.data.readers.idx import parse_idx

SIZES = {"train": 12, "val": 6, "test": 9}


def images_of(part, shape=(28, 28)):
    return np.random.default_rng(SIZES[part]).integers(0, 256, (SIZES[part], *shape)).astype(np.uint8)


def labels_of(part):
    return np.resize([1, 0, 4], SIZES[part]).astype(np.uint8)


def refused(path, words, part="train"):
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        load_dataset(path, part)
    assert "\n" not in str(caught.value)


# MedMNIST: six arrays in an .npz, labels of shape (n, 1)


def medmnist(file, shape=(28, 28), **changes):
    arrays = {}
    for part in SIZES:
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = images_of(part, shape), labels_of(part)[:, np.newaxis]
    arrays.update(changes)
    np.savez_compressed(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist_keeps_its_validation_rows(tmp_path, shape):
    file = medmnist(tmp_path / "bloodmnist.npz", shape)
    train, test = load_dataset(file), load_dataset(file, "test")
    expected = np.concatenate([images_of("train", shape), images_of("val", shape)])
    np.testing.assert_array_equal(train.X, expected.reshape(18, -1))
    assert train.classes[train.y].tolist() == [*labels_of("train"), *labels_of("val")]
    assert train.image_shape == test.image_shape == shape
    assert train.official_split.train.tolist() == list(range(12))
    assert train.official_split.validation.tolist() == list(range(12, 18))
    np.testing.assert_array_equal(test.X, images_of("test", shape).reshape(9, -1))
    assert test.official_split is None and test.classes.tolist() == [0, 1, 4]


@pytest.mark.parametrize("side", [64, 128, 224])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_larger_sizes_of_medmnist_are_read_as_they_are_or_resized(tmp_path, side, channels):
    file = medmnist(tmp_path / f"bloodmnist_{side}.npz", (side, side, *channels))
    for part, n in (("train", 18), ("test", 9)):
        assert load_dataset(file, part).image_shape == (side, side, *channels)
        smaller = load_dataset(file, part, resize=28)
        assert smaller.image_shape == (28, 28, *channels) and len(smaller.X) == n
    assert smaller.official_split is None
    assert load_dataset(file, resize=28).official_split.validation.tolist() == list(range(12, 18))


def test_official_validation_rows_are_shown_and_fingerprinted(tmp_path):
    file = medmnist(tmp_path / "one.npz")
    assert "  validation   6 of the train images" in describe(file)
    images, labels = (np.concatenate([of("train"), of("val")]) for of in (images_of, labels_of))
    moved = {"train_images": images[:11], "val_images": images[11:], "train_labels": labels[:11]}
    other = medmnist(tmp_path / "two.npz", **moved, val_labels=labels[11:])
    one, two = load_dataset(file), load_dataset(other)
    np.testing.assert_array_equal(one.X, two.X)
    assert one.fingerprint != two.fingerprint


def test_an_npz_may_have_validation_rows_under_our_names(tmp_path):
    arrays = {f"{name}_{part}": of(part) for part in SIZES for name, of in (("x", images_of), ("y", labels_of))}
    np.savez(tmp_path / "mine.npz", **arrays)
    assert len(load_dataset(tmp_path / "mine.npz").official_split.validation) == 6


BAD = {
    "without labels": ({"val_labels": None}, "array val_labels is missing"),
    "without test": ({"test_images": None}, "array test_images is missing"),
    "strange label": ({"val_labels": np.full((6, 1), 7)}, "label 7 of validation does not occur in train"),
    "other scale": ({"val_images": images_of("val") / 255}, "pixels of train and validation have different ranges"),
    "other size": ({"val_images": images_of("val", (8, 8))}, "images of shape (8, 8) in validation, (28, 28) in train"),
    "several labels": ({"train_labels": np.ones((12, 14), np.uint8)}, "labels of train: shape (12, 14)"),
    "volumes": ({"train_images": np.zeros((12, 28, 28, 28))}, "images of train: shape (12, 28, 28, 28)"),
}


@pytest.mark.parametrize("case", BAD)
def test_validation_rows_must_fit_to_the_train_rows(tmp_path, case):
    changes, words = BAD[case]
    refused(medmnist(tmp_path / "bad.npz", **changes), words)


# Four files in a folder


def idx(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def check(path, shape=(28, 28)):
    for part in ("train", "test"):
        data = load_dataset(path, part)
        np.testing.assert_array_equal(data.X, images_of(part, shape).reshape(SIZES[part], -1))
        assert data.classes[data.y].tolist() == labels_of(part).tolist()


@pytest.mark.parametrize("end", ["", ".gz"])
def test_emnist_is_turned_upright(tmp_path, end):
    pack = gzip.compress if end else bytes
    for part in ("train", "test"):
        for kind, array in (("images-idx3", images_of(part).swapaxes(1, 2)), ("labels-idx1", labels_of(part))):
            (tmp_path / f"emnist-balanced-{part}-{kind}-ubyte{end}").write_bytes(pack(idx(array)))
    check(tmp_path)


def test_tables_of_emnist_are_turned_upright_too(tmp_path):
    for part in ("train", "test"):
        rows = np.column_stack([labels_of(part), images_of(part).swapaxes(1, 2).reshape(SIZES[part], -1)])
        np.savetxt(tmp_path / f"emnist-byclass-{part}.csv", rows, fmt="%d", delimiter=",")
    check(tmp_path / "emnist-byclass-train.csv")


def test_qmnist_has_its_class_in_the_first_of_eight_columns(tmp_path):
    for part in ("train", "test"):
        about = np.random.default_rng(0).integers(0, 99_999, (SIZES[part], 8))
        about[:, 0] = labels_of(part)
        (tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images_of(part))))
        (tmp_path / f"qmnist-{part}-labels-idx2-int.gz").write_bytes(gzip.compress(idx(about.astype(">i4"), 12)))
    check(tmp_path)


@pytest.mark.parametrize("name", ["k49", "kmnist"])
def test_kuzushiji_has_an_array_in_each_of_four_files(tmp_path, name):
    for part in ("train", "test"):
        np.savez_compressed(tmp_path / f"{name}-{part}-imgs.npz", images_of(part))
        np.savez_compressed(tmp_path / f"{name}-{part}-labels.npz", labels_of(part))
    (tmp_path / "k49_classmap.csv").write_text("index,codepoint,char\n")
    check(tmp_path)
    np.savez(tmp_path / f"{name}-train-imgs.npz", images_of("train"), images_of("test"))
    refused(tmp_path, "train-imgs.npz: holds 2 arrays, arr_0, arr_1; needed: one")


@given(hnp.arrays(">i4", hnp.array_shapes(min_dims=1, max_dims=2, max_side=5)), st.data())
def test_labels_of_32_bits_are_parsed_or_refused(array, data):
    content = idx(array, 12)
    np.testing.assert_array_equal(parse_idx(content, "x"), array)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(InputError, match="x: "):
        parse_idx(content[:cut], "x")


def write_strange(folder, form):
    """Write a data set whose test rows alone have the label 7; return its path."""
    labels = {"train": np.arange(12) % 3, "test": np.array([0, 7, 1])}
    images = {part: np.full((len(y), 4, 4), 99, np.uint8) for part, y in labels.items()}
    for part, stem in (("train", "train"), ("test", "t10k")):
        if form == "idx":
            (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(images[part]))
            (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels[part].astype(np.uint8)))
        elif form != "npz":
            frame = pd.DataFrame(
                {"label": labels[part], **{f"p{n}": images[part].reshape(-1, 16)[:, n] for n in range(16)}}
            )
            write = frame.to_csv if form == "csv" else frame.to_parquet
            write(folder / f"my_{part}.{form}", index=False)
    if form == "npz":
        pairs = {f"x_{part}": images[part] for part in images} | {f"y_{part}": labels[part] for part in labels}
        np.savez(folder / "my.npz", **pairs)
    return folder / "my.npz" if form == "npz" else folder


@pytest.mark.parametrize("form", ["npz", "idx", "csv", "parquet"])
def test_a_label_that_test_rows_alone_have_is_refused_before_a_search(tmp_path, form):
    refused(write_strange(tmp_path, form), "label 7 of test does not occur in train")
