"""The relatives of Fashion-MNIST are read as they are distributed, in tiny files of their layouts."""

import re
from pathlib import Path

import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import describe, load_dataset

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
