"""Loaders, checks and splits, over small files made here; the real data where it is present."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import itertools
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data import fashion_mnist
from fmnist_bench.data.dataset import (
    Dataset,
    absolute,
    find_fashion_mnist,
    load_dataset,
    make_split,
    parse_idx,
    resolve,
)
from fmnist_bench.data.describe import describe
from fmnist_bench.data.readers.idx import IDX_FILES, find_file

STEMS = [*IDX_FILES["train"], *IDX_FILES["test"]]
real = pytest.mark.usefixtures("fashion_mnist")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def small(n: int = 12, shape: tuple[int, ...] = (4, 3), classes: tuple[int, ...] = (3, 7, 9)) -> tuple[Any, Any]:
    images = np.random.default_rng(n).integers(0, 256, (n, *shape)).astype(np.uint8)
    return images, np.resize(np.array(classes), n).astype(np.uint8)


def write_folder(folder: Path, compress: bool = True, **arrays: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    parts = (*small(12), *small(6))
    for stem, array in zip(STEMS, parts, strict=True):
        content = idx(arrays.get(stem.split("-idx")[0].replace("-", "_"), array))
        if compress:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / stem).write_bytes(content)
    return folder


def write_npz(file: Path, **changes: Any) -> Path:
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*small(12), *small(6)), strict=True))
    arrays.update(changes)
    np.savez(file, **{key: value for key, value in arrays.items() if value is not None})
    return file


def refused(call: Callable[[], object], *words: str) -> str:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No copy on this machine, no mirror, no apt; returns what is our own cache."""
    monkeypatch.delenv(fashion_mnist.DATA_VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(fashion_mnist, "own_cache", lambda: tmp_path / "own")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ("http://127.0.0.1:1/",))
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: None)
    return tmp_path / "own"


@pytest.fixture
def tiny_fashion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of tiny files that stand for the real ones."""
    folder = write_folder(tmp_path / "tiny")
    contents = {stem: gzip.decompress((folder / f"{stem}.gz").read_bytes()) for stem in STEMS}
    hashes = {stem: hashlib.sha256(content).hexdigest() for stem, content in contents.items()}
    monkeypatch.setattr(fashion_mnist, "SHA256", hashes)
    return folder


@pytest.fixture
def mirror(tiny_fashion: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tiny_fashion)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


# The IDX parser

arrays_1_3_4 = st.sampled_from([1, 3, 4]).flatmap(
    lambda n: hnp.arrays(np.uint8, hnp.array_shapes(min_dims=n, max_dims=n, min_side=1, max_side=5))
)


@given(arrays_1_3_4)
def test_parse_idx_round_trip(array: np.ndarray) -> None:
    parsed = parse_idx(idx(array), "x")
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


@given(arrays_1_3_4, st.data())
def test_parse_idx_refuses_any_truncation(array: np.ndarray, data: st.DataObject) -> None:
    content = idx(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    refused(lambda: parse_idx(content[:cut], "x"), "x: ")


@given(arrays_1_3_4, st.binary(min_size=1, max_size=9))
def test_parse_idx_refuses_extra_bytes(array: np.ndarray, extra: bytes) -> None:
    refused(lambda: parse_idx(idx(array) + extra, "x"), "more")


@given(arrays_1_3_4, st.data())
def test_parse_idx_refuses_any_changed_header_byte(array: np.ndarray, data: st.DataObject) -> None:
    content = bytearray(idx(array))
    position = data.draw(st.integers(0, 3 + 4 * array.ndim))
    content[position] ^= data.draw(st.integers(1, 255))
    refused(lambda: parse_idx(bytes(content), "x"), "x: ")


@given(st.binary(max_size=40))
def test_parse_idx_raises_nothing_else(content: bytes) -> None:
    try:
        parse_idx(b"\0\0\x08" + content, "x")
    except InputError as error:
        assert "\n" not in str(error)


# Fashion-MNIST


@real
def test_real_train() -> None:
    train = load_dataset()
    assert train.X.shape == (60000, 784) and train.X.dtype == np.uint8
    assert train.y.dtype == np.int64 and np.bincount(train.y).tolist() == [6000] * 10
    assert train.image_shape == (28, 28) and train.class_names[9] == "Ankle boot"
    assert train.fingerprint == "c9471586015d65bcd36bd44575c3f83a8bfa8fd40cef404845336f3b15684d87"
    assert not train.X.flags.writeable and not train.y.flags.writeable
    split = make_split(train.y, 10000, seed=1)
    assert len(split.train) == 50000 and np.bincount(train.y[split.validation]).tolist() == [1000] * 10


@real
def test_real_test() -> None:
    test = load_dataset("fashion-mnist", "test", find_fashion_mnist())
    assert test.X.shape == (10000, 784) and np.bincount(test.y).tolist() == [1000] * 10
    assert test.fingerprint == "6abb7165a4c55f50d4bc6b1bc8255d64b9a5cf1de989e99310039add74923235"


def test_import_is_light() -> None:
    heavy = "{'sklearn', 'pooch', 'requests', 'tensorflow'}"
    code = f"import sys, fmnist_bench.data.dataset; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()", done.stderr


def test_train_alone_needs_no_test_files(tiny_fashion: Path) -> None:
    for stem in IDX_FILES["test"]:
        (tiny_fashion / f"{stem}.gz").unlink()
    assert len(load_dataset(path=tiny_fashion).X) == 12
    refused(lambda: load_dataset(subset="test", path=tiny_fashion), "lacks t10k-images", str(tiny_fashion))
    refused(lambda: find_fashion_mnist(tiny_fashion), "lacks t10k-images")


def test_variable_names_the_folder(nowhere: Path, tiny_fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fashion_mnist.DATA_VARIABLE, str(tiny_fashion))
    assert find_fashion_mnist() == tiny_fashion
    monkeypatch.setenv(fashion_mnist.DATA_VARIABLE, str(tiny_fashion / "none"))
    refused(find_fashion_mnist, fashion_mnist.DATA_VARIABLE, "no such folder")


def test_wrong_fingerprint_names_file_and_reason(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "other")
    found = hashlib.sha256(idx(small(12)[0])).hexdigest()
    expected = fashion_mnist.SHA256["train-images-idx3-ubyte"]
    refused(
        lambda: load_dataset(path=folder), "train-images-idx3-ubyte.gz", expected, found, "31 August 2017", "overlap"
    )


def test_damaged_gzip(tiny_fashion: Path) -> None:
    file = tiny_fashion / "train-labels-idx1-ubyte.gz"
    content = file.read_bytes()
    for damaged in (content[:-9], b"no gzip", content[:12] + b"\xff\xff\xff" + content[15:], b""):
        file.write_bytes(damaged)
        refused(lambda: load_dataset(path=tiny_fashion), str(file))


@pytest.mark.parametrize("place", ["debian", "keras/datasets/fashion-mnist", "own"])
def test_known_places(place: str, nowhere: Path, tiny_fashion: Path) -> None:
    target = nowhere.parent / place
    shutil.copytree(tiny_fashion, target)
    assert find_fashion_mnist() == target
    assert isinstance(load_dataset(subset="test"), Dataset)


def test_damaged_place_is_skipped_with_a_warning(nowhere: Path, tiny_fashion: Path) -> None:
    keras = nowhere.parent / "keras/datasets/fashion-mnist"
    shutil.copytree(tiny_fashion, keras)
    shutil.copytree(tiny_fashion, nowhere)
    (keras / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"damaged"))
    with pytest.warns(UserWarning, match="Keras' cache skipped.*train-images"):
        assert find_fashion_mnist() == nowhere


def test_download_replaces_a_damaged_cache(nowhere: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "MIRRORS", ("http://127.0.0.1:1/", mirror))
    nowhere.mkdir()
    (nowhere / "train-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="own cache skipped"):
        assert len(load_dataset().X) == 12
    assert sorted(file.name for file in nowhere.iterdir()) == sorted(f"{stem}.gz" for stem in STEMS)
    assert find_fashion_mnist() == nowhere


def test_wrong_mirror_leaves_nothing(
    nowhere: Path, mirror: str, tiny_fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (mirror,))
    (tiny_fashion / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"old"))
    refused(load_dataset, mirror, "t10k-labels", "SHA-256")
    assert list(nowhere.iterdir()) == []


def test_nothing_found_lists_what_was_tried(nowhere: Path) -> None:
    start = time.monotonic()
    refused(load_dataset, "Debian package", "Keras' cache", "own cache", "127.0.0.1:1", "apt-get is not installed")
    assert time.monotonic() - start < 60


def test_silent_network_costs_seconds(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "CONNECT_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(fashion_mnist, "MIRRORS", tuple(f"{url}{i}/" for i in range(3)))
        start = time.monotonic()
        refused(load_dataset, url)
        assert time.monotonic() - start < 20


def test_failing_apt_is_reported(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: name)
    monkeypatch.setattr(
        fashion_mnist, "_apt_command", lambda folder: [sys.executable, "-c", "raise SystemExit('E: no list')"]
    )
    refused(load_dataset, "Debian archive", "status 1: E: no list")
    monkeypatch.setattr(fashion_mnist, "_apt_command", lambda folder: [sys.executable, "-c", "pass"])
    refused(load_dataset, "Debian archive", "no package list")
    assert list(nowhere.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None, reason="apt-get is absent")
def test_debian_archive(tmp_path: Path) -> None:
    folder = fashion_mnist.fetch_from_debian(tmp_path / "a cache")
    assert fashion_mnist.verify(folder) == tmp_path / "a cache"
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{stem}.gz" for stem in STEMS)
    assert len(load_dataset("fashion-mnist", "test", folder).X) == 10000


# Other data sets


def test_digits() -> None:
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    assert train.X.shape == (1500, 64) and test.X.shape == (297, 64)
    assert train.image_shape == (8, 8) and train.X.max() == 255 and train.X.dtype == np.uint8
    assert np.bincount(test.y).min() >= 29 and test.class_names == tuple("0123456789")
    assert train.fingerprint == load_dataset("digits").fingerprint != test.fingerprint
    assert not {row.tobytes() for row in train.X} & {row.tobytes() for row in test.X}


@pytest.mark.parametrize("compress", [True, False])
def test_folder_of_idx_files(tmp_path: Path, compress: bool) -> None:
    folder = write_folder(tmp_path / "my v1.2", compress)
    train, test = load_dataset(folder), load_dataset(str(folder), "test")
    np.testing.assert_array_equal(train.X, small(12)[0].reshape(12, 12))
    assert (train.name, train.image_shape, train.class_names) == ("my v1.2", (4, 3), ("3", "7", "9"))
    assert train.y.tolist() == [0, 1, 2] * 4 and train.y.dtype == np.int64
    assert train.classes.tolist() == test.classes.tolist() == [3, 7, 9] and not train.classes.flags.writeable
    assert len(test.X) == 6


@pytest.mark.parametrize("channels, shape", [(1, (4, 5)), (3, (4, 5, 3))])
def test_channels(tmp_path: Path, channels: int, shape: tuple[int, ...]) -> None:
    images, y = small(6, (4, 5, channels))
    folder = write_folder(tmp_path / "idx", train_images=images, train_labels=y)
    file = write_npz(tmp_path / "c.npz", x_train=images, y_train=y)
    for data in (load_dataset(folder), load_dataset(file)):
        assert data.image_shape == shape
        np.testing.assert_array_equal(data.X, images.reshape(6, -1))
    assert load_dataset(folder).fingerprint == load_dataset(file).fingerprint


@pytest.mark.parametrize(("stem", "name"), [("mine", "mine"), ("digits", "own-digits"), ("fmnist", "own-fmnist")])
def test_a_file_does_not_take_the_name_of_a_data_set(tmp_path: Path, stem: str, name: str) -> None:
    assert load_dataset(write_npz(tmp_path / f"{stem}.npz")).name == name


@pytest.mark.parametrize("kind", ["int64", "uint16", "float16", "float32", "float64"])
def test_npz_types(tmp_path: Path, kind: str) -> None:
    (x_train, y_train), (x_test, _) = small(12), small(6)
    expected = load_dataset(write_npz(tmp_path / "a.npz"), "test")
    whole = write_npz(
        tmp_path / "b.npz", x_train=x_train.astype(kind), x_test=x_test.astype(kind), y_train=y_train * 1.0
    )
    assert load_dataset(whole, "test").fingerprint == expected.fingerprint
    if kind.startswith("float"):
        unit = write_npz(tmp_path / "c.npz", x_train=(x_train / 255).astype(kind), x_test=(x_test / 255).astype(kind))
        np.testing.assert_array_equal(load_dataset(unit, "test").X, expected.X)


def test_labels_of_test_are_numbered_like_those_of_train(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "a.npz", y_train=np.resize([-5, 2, 40], 12), y_test=np.full((6, 1), 40))
    data = load_dataset(file, "test")
    assert data.y.tolist() == [2] * 6 and data.class_names == ("-5", "2", "40")
    refused(lambda: load_dataset(write_npz(tmp_path / "b.npz", y_test=np.full(6, 4)), "test"), "label 4", "train")


def test_the_fingerprint_knows_the_labels(tmp_path: Path) -> None:
    three = load_dataset(write_npz(tmp_path / "a.npz", y_train=np.arange(12) % 3, y_test=np.ones(6)))
    other = load_dataset(write_npz(tmp_path / "b.npz", y_train=np.arange(12) % 3 + 1, y_test=np.ones(6)))
    assert three.y.tolist() == other.y.tolist() and three.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("form", "classes"),
    [
        (lambda y: y[:, np.newaxis], [0, 1, 2]),
        (lambda y: np.eye(4)[y], [0, 1, 2]),
        (lambda y: np.eye(3, dtype=bool)[y], [0, 1, 2]),
        (lambda y: np.array(["boot", "coat", "shirt"])[y], ["boot", "coat", "shirt"]),
        (lambda y: np.array(["ä", "\n", "z\x1b"])[y][:, np.newaxis], ["\n", "z\x1b", "ä"]),
    ],
)
def test_labels_come_in_these_forms(tmp_path: Path, form: Callable[[Any], Any], classes: list[Any]) -> None:
    y_train, y_test = np.arange(12) % 3, np.array([2, 2, 0, 1, 2, 2])
    file = write_npz(tmp_path / "a.npz", y_train=form(y_train), y_test=form(y_test))
    plain = load_dataset(write_npz(tmp_path / "b.npz", y_train=y_train, y_test=y_test), "test")
    data = load_dataset(file, "test")
    assert data.classes.tolist() == classes
    assert all(name.isprintable() for name in data.class_names)
    assert (data.fingerprint == plain.fingerprint) == (classes == [0, 1, 2])
    if classes[0] != "\n":
        assert data.y.tolist() == plain.y.tolist()


def test_words_that_only_test_rows_have_are_refused(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "a.npz", y_train=np.array(["a", "b"] * 6), y_test=np.array(["a", "c"] * 3))
    refused(lambda: load_dataset(file, "test"), "label c of test does not occur in train")
    file = write_npz(tmp_path / "a.npz", y_train=np.array(["a", "b"] * 6), y_test=np.arange(6) % 2)
    refused(lambda: load_dataset(file, "test"), "label 0 of test does not occur in train")


NAN = np.full((12, 4, 3), np.nan)
BAD_NPZ = {
    "missing": (dict(y_train=None), "y_train is missing"),
    "nan": (dict(x_train=np.where(np.arange(12).reshape(12, 1, 1) == 5, NAN, 0.5)), "no NaN"),
    "infinite": (dict(x_train=np.full((12, 4, 3), np.inf)), "pixels from inf"),
    "negative": (dict(x_train=np.full((12, 4, 3), -1)), "pixels from -1"),
    "above": (dict(x_train=np.full((12, 4, 3), 256)), "256"),
    "complex": (dict(x_train=np.ones((12, 4, 3), complex)), "images of train: element type complex128"),
    "words": (dict(x_train=np.full((12, 4, 3), "a")), "images of train: element type <U1"),
    "a little bright": (dict(x_train=np.linspace(0, 1.2, 144).reshape(12, 4, 3)), "pixels from 0 to 1.2"),
    "object": (dict(x_train=np.array([None] * 12)), "array x_train holds Python objects"),
    "labels as objects": (dict(y_train=np.array(["a"] * 12, object)), "array y_train holds Python objects"),
    "flat": (dict(x_train=np.zeros((12, 12), np.uint8)), "shape (12, 12)"),
    "two channels": (dict(x_train=np.zeros((12, 4, 3, 2), np.uint8)), "(n, h, w, 3)"),
    "length": (dict(y_train=np.arange(11) % 3), "12 images and 11 labels"),
    "fraction": (dict(y_train=np.arange(12) / 2), "neither whole numbers nor words"),
    "nan label": (dict(y_train=np.full(12, np.nan)), "labels of train: element type float64"),
    "empty word": (dict(y_train=np.array(["a", ""] * 6)), "labels of train: element type <U1"),
    "bytes": (dict(y_train=np.array([b"a", b"b"] * 6)), "labels of train: element type |S1"),
    "case": (dict(x_train=None, X_train=np.zeros((12, 4, 3))), "x_train is missing; did you mean X_train?"),
    "two-hot": (dict(y_train=np.eye(12) + np.eye(12)[::-1]), "shape (12, 12); allowed: (n,) or (n, 1)"),
    "wide": (dict(y_train=np.eye(12) * 2), "shape (12, 12)"),
    "one kind": (dict(y_train=np.eye(12)[np.zeros(12, int)]), "only one class, 0"),
    "one class": (dict(y_train=np.full(12, 3)), "only one class, 3"),
    "empty": (dict(x_train=np.zeros((0, 4, 3)), y_train=np.zeros(0)), "shape (0,)"),
    "no pixels": (dict(x_train=np.zeros((12, 0, 3))), "no pixels"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz(tmp_path: Path, case: str) -> None:
    changes, words = BAD_NPZ[case]
    file = write_npz(tmp_path / "bad.npz", **changes)
    refused(lambda: load_dataset(file), str(file), words)


def test_train_and_test_must_fit_together(tmp_path: Path) -> None:
    turned = write_npz(tmp_path / "a.npz", x_test=np.zeros((6, 3, 4), np.uint8))
    refused(lambda: load_dataset(turned, "test"), "(3, 4)", "(4, 3)")
    for number, x_test in enumerate((np.full((6, 4, 3), 0.5), np.ones((6, 4, 3), bool))):
        scaled = write_npz(tmp_path / f"b{number}.npz", x_test=x_test)
        refused(partial(load_dataset, scaled, "test"), "ranges")
    black = write_npz(tmp_path / "c.npz", x_train=small(12)[0] > 99, x_test=np.zeros((6, 4, 3), bool))
    assert load_dataset(black).X.max() == 255 and load_dataset(black, "test").X.max() == 0


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_train_rows_are_not_read_where_test_rows_are_missing(tmp_path: Path, form: str) -> None:
    path = write_npz(tmp_path / "a.npz", x_test=None) if form == "npz" else write_folder(tmp_path / "a")
    if form == "folder":
        (path / "t10k-images-idx3-ubyte.gz").unlink()
    refused(lambda: load_dataset(path), "x_test is missing" if form == "npz" else "lacks t10k-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("X", "y"), ("X_test", "y_test")),
        (("x", "y"), ("x_test", "y_test")),
        (("images", "labels"), ("test_images", "test_labels")),
    ],
)
def test_test_rows_beside_plain_names_are_those_of_the_test(
    tmp_path: Path, train: tuple[str, str], test: tuple[str, str]
) -> None:
    arrays = dict(zip((*train, *test), (*small(12), *small(6)), strict=True))
    np.savez(tmp_path / "a.npz", **arrays)
    assert len(load_dataset(tmp_path / "a.npz").X) == 12 and len(load_dataset(tmp_path / "a.npz", "test").X) == 6
    arrays["final_test_rows"] = arrays.pop(test[0])
    np.savez(tmp_path / "b.npz", **arrays)
    refused(lambda: load_dataset(tmp_path / "b.npz"), f"array {test[0]} is missing", "needed: ")
    del arrays[test[1]]
    np.savez(tmp_path / "c.npz", **arrays)
    refused(lambda: load_dataset(tmp_path / "c.npz"), f"array {test[0]} is missing", "needed: ")


def test_a_home_that_is_not_known_is_refused() -> None:
    for use in (load_dataset, resolve, absolute, find_fashion_mnist):
        refused(lambda use=use: use("~nobody-of-this-name/x.npz"), "~nobody-of-this-name/x.npz: the home folder")


def test_damaged_npz(tmp_path: Path) -> None:
    whole = write_npz(tmp_path / "a.npz").read_bytes()
    file = tmp_path / "bad.npz"
    for content in (b"", b"PK\x03\x04", b"text", whole[:-30], whole[:60] + b"\xff" * 40 + whole[100:]):
        file.write_bytes(content)
        refused(lambda: load_dataset(file), str(file))
    with open(file, "wb") as stream:
        np.save(stream, np.zeros(3))
    refused(lambda: load_dataset(file), "not a readable .npz")


def test_an_archive_may_hold_rows_of_pixels(tmp_path: Path) -> None:
    images = np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4)
    whole = write_npz(tmp_path / "a.npz", x_train=images, x_test=images[:6])
    flat = write_npz(tmp_path / "b.npz", x_train=images.reshape(12, 16), x_test=images[:6].reshape(6, 16))
    assert load_dataset(flat).fingerprint == load_dataset(whole).fingerprint


def test_bad_folder(tmp_path: Path) -> None:
    images, labels = small(12)
    for name, changes, words in (
        ("images are labels", dict(train_images=labels), "images of train: shape (12,)"),
        ("labels are images", dict(train_labels=images), "labels of train: shape (12, 4, 3)"),
        ("length", dict(train_labels=labels[:5]), "12 images and 5 labels"),
        ("one class", dict(train_labels=labels * 0), "only one class"),
    ):
        folder = write_folder(tmp_path / name, **changes)
        refused(partial(load_dataset, folder), str(folder), words)
    (folder / "train-images-idx3-ubyte.gz").unlink()
    refused(lambda: load_dataset(folder), "lacks train-images-idx3-ubyte")


EMNIST = [
    f"emnist-letters-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")
]


@pytest.mark.parametrize(
    "names",
    [
        EMNIST,
        [name.replace("emnist-letters", "kmnist") for name in EMNIST],
        [stem.replace("-idx", ".idx") for stem in STEMS],
        [f"{s}/{s}" for s in STEMS],
        [f"raw/{s}" for s in STEMS],
    ],
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_files_of_the_relatives_of_mnist_are_found(tmp_path: Path, names: list[str], end: str) -> None:
    lying = {f"{part}_images": small(n)[0].swapaxes(1, 2) for part, n in (("train", 12), ("t10k", 6))}
    expected = load_dataset(write_folder(tmp_path / "plain", bool(end)), "test")
    write_folder(tmp_path / "plain", bool(end), **(lying if names is EMNIST else {}))
    for stem, name in zip(STEMS, names, strict=True):
        (tmp_path / "other" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / f"{stem}{end}").rename(tmp_path / "other" / f"{name}{end}")
    assert load_dataset(tmp_path / "other", "test").fingerprint == expected.fingerprint


def test_every_name_that_the_page_promises_is_found(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/data.md").read_text()
    names = re.findall(r"`([\w.-]*(?:ubyte|-int|-imgs\.npz|-labels\.npz))`", page)
    assert len(names) >= 9
    for name in names:
        part, kind = "train" if "train" in name else "test", "labels" in name
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).touch()
        assert find_file(folder, IDX_FILES[part][kind]) == folder / name


def test_several_data_sets_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "emnist", compress=False)
    for stem, name in zip(STEMS, EMNIST, strict=True):
        shutil.copy(folder / stem, folder / name.replace("letters", "digits"))
        (folder / stem).rename(folder / name)
    words = "emnist-digits-train-images-idx3-ubyte, emnist-letters-train-images-idx3-ubyte may all be"
    refused(lambda: load_dataset(folder), words, "into a folder")
    shutil.copy(folder / EMNIST[0], folder / STEMS[0])
    refused(lambda: load_dataset(folder), "may all be train-labels")  # an exact name goes first


def test_a_folder_without_them_says_what_is_there(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.csv").touch()
    refused(lambda: load_dataset(tmp_path), "lacks train-images-idx3-ubyte", "holds 0.csv, 1.csv", "and 2 more")


def test_a_whole_file_goes_before_a_damaged_copy_of_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", compress=False)
    (folder / f"{STEMS[0]}.gz").write_bytes(gzip.compress((folder / STEMS[0]).read_bytes())[:-9])
    assert len(load_dataset(folder).y) == 12


def test_what_a_browser_unpacked_keeps_its_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a")
    expected = load_dataset(folder)
    for stem in STEMS:
        (folder / f"{stem}.gz").write_bytes(gzip.decompress((folder / f"{stem}.gz").read_bytes()))
    assert load_dataset(folder).fingerprint == expected.fingerprint
    for stem in STEMS:
        (folder / stem).write_bytes(gzip.compress((folder / f"{stem}.gz").read_bytes()))
        (folder / f"{stem}.gz").unlink()
    assert load_dataset(folder).fingerprint == expected.fingerprint


def test_header_of_absurd_size_is_refused_at_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "idx", compress=False)
    (folder / STEMS[0]).write_bytes(struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4) + b"1234")
    refused(lambda: load_dataset(folder), "fewer")
    bomb = gzip.compress(idx(small(12)[0]) + bytes(50_000_000), 1)
    (folder / STEMS[0]).unlink()
    (folder / f"{STEMS[0]}.gz").write_bytes(bomb)
    refused(lambda: load_dataset(folder), "more (161 read)")


def test_bad_arguments(tmp_path: Path) -> None:
    refused(lambda: load_dataset("fashon-mnist"), "unknown data set 'fashon-mnist'", "did you mean fashion-mnist?")
    assert "did you mean" not in refused(lambda: load_dataset("xyz"), "allowed: fashion-mnist, digits")
    refused(lambda: load_dataset(tmp_path / "none"), "no such file or folder")
    refused(lambda: load_dataset("none.npz"), "no such file or folder: none.npz")
    refused(lambda: load_dataset("https://host/x.npz"), "https://host/x.npz: is an address; download it")
    (tmp_path / "a.txt").write_text("text")
    refused(lambda: load_dataset(tmp_path / "a.txt"), "not a data set")
    np.save(tmp_path / "a.npy", small(12)[0])
    refused(lambda: load_dataset(tmp_path / "a.npy"), "a.npy: not a data set")
    refused(lambda: load_dataset("digits", "valid"), "'valid'", "train, test")
    refused(lambda: load_dataset("digits", path=tmp_path), "fashion-mnist")


def test_what_is_shown_of_a_data_set(tmp_path: Path) -> None:
    images, _ = small(12)
    lines = describe(write_npz(tmp_path / "a.npz")).splitlines()
    assert lines[1] == "  train        12 images of 4 x 3: 3 4, 7 4, 9 4" and "overlap" not in lines[-2]
    changes = dict(y_train=np.r_[3, 9, [7] * 10], y_test=np.full(6, 3), x_test=np.r_[images[:5], 255 - images[:1]])
    lines = describe(write_npz(tmp_path / "b.npz", **changes)).splitlines()
    assert lines[3] == "  test         6 images of 4 x 3: 3 6, 7 0, 9 0"
    assert lines[5:-1] == [
        "  one image    of class 3 to train on: it is learnt, and never validated",
        "  one image    of class 9 to train on: it is learnt, and never validated",
        "  overlap      5 of the 6 test images are train images, too",
    ]
    assert re.fullmatch(r"  examples     .*/b-[0-9a-f]{8}\.png \(a class a line\)", lines[-1])


# Splits

labels = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.integers(8, 30), min_size=k, max_size=k).map(lambda sizes: np.repeat(np.arange(k), sizes))
)


@given(labels, st.integers(0, 2**32), st.floats(0.2, 0.6), st.booleans())
def test_split_is_a_stratified_partition(y: np.ndarray, seed: int, size: float, half: bool) -> None:
    y = np.random.default_rng(0).permutation(y)
    rows = max(len(y) // 2, 1) if half else len(y)
    split, again = (make_split(y, size, seed, rows if half else None) for _ in range(2))
    np.testing.assert_array_equal(split.train, again.train)
    np.testing.assert_array_equal(split.validation, again.validation)
    assert split.train.dtype == split.validation.dtype == np.int64
    assert np.all(np.diff(split.train) > 0) and np.all(np.diff(split.validation) > 0)
    assert not np.intersect1d(split.train, split.validation).size
    assert len(split.train) + len(split.validation) == rows and len(split.validation) == round(size * rows)
    share = np.bincount(y) * len(split.validation) / len(y)
    assert np.abs(np.bincount(y[split.validation], minlength=y.max() + 1) - share).max() < 2


def test_split_sizes_and_seeds() -> None:
    y = np.arange(60000) % 10
    split = make_split(y, 10000, seed=0)
    assert (len(split.train), len(split.validation)) == (50000, 10000)
    assert set(np.bincount(y[split.train])) == {5000}
    assert not np.array_equal(split.validation, make_split(y, 10000, seed=1).validation)
    part = make_split(y, 0.25, seed=0, rows=400)
    assert (len(part.train), len(part.validation)) == (300, 100) and part.train.max() > 400
    assert len(make_split(y, 10, seed=0, rows=59999).train) == 59989


@given(labels, st.integers(0, 2**32), st.floats(0.2, 0.6), st.data())
def test_a_part_lies_within_every_larger_one(y: np.ndarray, seed: int, size: float, data: st.DataObject) -> None:
    n = int(y.max()) + 1
    sizes = sorted(data.draw(st.lists(st.integers(6 * n, len(y)), min_size=2, max_size=4)))
    parts = [make_split(y, size, seed, rows) for rows in sizes]
    for rows, part in zip(sizes, parts, strict=True):
        assert len(part.validation) == round(size * rows) and len(part.train) + len(part.validation) == rows
        for numbers in (part.train, part.validation):
            assert np.abs(np.bincount(y[numbers], minlength=n) - np.bincount(y) * len(numbers) / len(y)).max() < 2
    for smaller, larger in itertools.pairwise([*parts, make_split(y, size, seed)]):
        assert set(smaller.train) <= set(larger.train) and set(smaller.validation) <= set(larger.validation)


@given(st.integers(0, 99), st.integers(1, 4))
def test_the_only_row_of_a_class_is_fitted(seed: int, n_alone: int) -> None:
    y = np.random.default_rng(seed).permutation(np.r_[[0, 1, 2] * 10, np.arange(3, 3 + n_alone)])
    split = make_split(y, 9, seed)
    assert len(split.validation) == 9 and set(y[split.validation]) == {0, 1, 2}
    assert set(y[split.train]) == set(range(3 + n_alone)) and len(split.train) == len(y) - 9


def test_bad_splits() -> None:
    y = np.array([0, 1, 2] * 10 + [3])
    refused(lambda: make_split(np.array([0, 2] * 9), 0.2, 0), "class 1 has none of the 18 rows")
    names = ("10", "20", "40", "75")
    rare = np.array([0, 1, 2] * 50 + [3])
    refused(lambda: make_split(rare, 4, 0, rows=10, class_names=names), "class 75 has none of the 10 rows")
    refused(lambda: make_split(y[:30], 6, 0, rows=4), "4 rows are too few for 3 classes; allowed: at least 6")
    rare = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    refused(lambda: make_split(rare, 0.8, 0), "class 1 has no row left to fit")
    refused(lambda: make_split(rare, 0.8, 0, class_names=("-1", "5")), "class 5 has no row left to fit")
    for size in (0, 1.0, -3, 30, 31, 29, float("nan"), 2):
        refused(partial(make_split, y[:30], size, 0), f"valid_size={size}", "allowed")
    for rows in (0, 1, 31):
        refused(partial(make_split, y[:30], 6, 0, rows=rows), f"rows={rows}", "2 to 30")
    refused(lambda: make_split(y[:30], 6, -1), "seed=-1")
    for bad in ([], [0.5, 1.0], [[0, 1]], [-1, 0], [0, 10**12]):
        refused(partial(make_split, bad, 1, 0), "y must be")


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path):
    images = np.zeros((400_000, 28, 28), np.uint8)  # 299 MiB of zeros in 0.3
    np.savez_compressed(tmp_path / "bomb.npz", x_train=images, y_train=[0, 1], x_test=images[:2], y_test=[0, 1])
    with pytest.raises(InputError, match=r"bomb\.npz: not a readable .npz .* bytes would be inflated to 3136"):
        load_dataset(tmp_path / "bomb.npz")
