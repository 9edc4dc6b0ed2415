"""A data set that needs no code is a row of the registry; what is downloaded is checked, or said to be unchecked."""

import gzip
import hashlib
import http.server
import json
import logging
import re
import shutil
import threading
import zipfile
from functools import partial

import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data import dataset as datasets
from fmnist_bench.data import fashion_mnist, registry
from fmnist_bench.data.dataset import absolute, load_dataset, resolve
from fmnist_bench.data.readers import openml
from fmnist_bench.data.registry import NAMES, Entry, entries, files_of
from fmnist_bench.runner import arguments

N = 24
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 4, 4)).astype(np.uint8)
LABELS = (np.arange(N) % 3 + 1).astype(np.uint8)
STEMS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.tobytes()


@pytest.fixture
def served(tmp_path):
    """A folder that a server on this machine gives out, and its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Our own cache."""
    for module in (registry, openml):
        monkeypatch.setattr(module, "own_cache", lambda: tmp_path / "own")
    return tmp_path / "own"


def sha256(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def four(served):
    """A row for four files that are served."""
    folder, address = served
    for stem, array in zip(STEMS, (IMAGES, LABELS) * 2, strict=True):
        (folder / f"{stem}.gz").write_bytes(gzip.compress(idx(array)))
    files = {f"{stem}.gz": sha256(folder / f"{stem}.gz") for stem in STEMS}
    names = {"class_names": ("one", "two", "three"), "first_label": 1}
    return Entry("four", "four files", "https://example.org/four", addresses=(address,), files=files, **names)


def register(monkeypatch, entry):
    known = {**entries(), entry.name: entry}
    monkeypatch.setattr(datasets, "entries", lambda: known)
    for module in (datasets, registry):
        monkeypatch.setattr(module, "NAMES", tuple(known))


def test_the_registry_says_what_is_needed_of_each():
    for name, entry in entries().items():
        assert (
            entry.title
            and entry.source.startswith("http")
            and entry.reader in ("files", "fashion-mnist", "scikit-learn")
        )
        assert bool(entry.files) == bool(entry.addresses) == (name != "digits")
        assert all(address.endswith("/") for address in entry.addresses)
        for stated in filter(None, entry.files.values()):
            assert re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", stated)
            assert entry.checked_by or name == "fashion-mnist"
    assert NAMES[:2] == ("fashion-mnist", "digits") and {"kmnist", "k49", "emnist-letters", "bloodmnist"} <= {*NAMES}
    assert entries()["emnist-letters"].names_of_labels[26] == "Z"
    assert fashion_mnist.SHA256["t10k-labels-idx1-ubyte"].startswith("0402a96d")


def test_a_row_is_downloaded_once_checked_and_read(four, served, cached, monkeypatch):
    register(monkeypatch, four)
    train, test = load_dataset("four"), load_dataset("four", "test")
    assert train.name == "four" and train.class_names == ("one", "two", "three") and train.classes.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(test.X, IMAGES.reshape(N, -1))
    for path in served[0].iterdir():
        path.unlink()
    assert load_dataset("four").fingerprint == train.fingerprint
    assert sorted(path.name for path in (cached / "four").iterdir()) == sorted(four.files)


def test_a_file_that_is_another_is_refused(four, served, cached):
    (served[0] / f"{STEMS[3]}.gz").write_bytes(b"another")
    with pytest.raises(InputError, match="what came is not sha256:"):
        files_of(four)
    assert not (cached / "four" / f"{STEMS[3]}.gz").exists()
    (cached / "four" / f"{STEMS[0]}.gz").write_bytes(b"damaged")
    with pytest.raises(InputError, match="is not the file that its makers know .*; delete it"):
        files_of(four)


def test_what_cannot_be_downloaded_says_what_to_get_and_where_to_put_it(four, cached, monkeypatch):
    register(
        monkeypatch, Entry(four.name, four.title, four.source, addresses=("http://127.0.0.1:1/",), files=four.files)
    )
    with pytest.raises(InputError) as caught:
        load_dataset("four")
    message = str(caught.value)
    assert "\n" not in message
    for words in (f"get {STEMS[0]}.gz, ", "from https://example.org/four", f"put them into {cached / 'four'}"):
        assert words in message


def test_a_file_without_a_stated_hash_is_said_to_be_unchecked(served, cached, caplog):
    np.savez(served[0] / "one.npz", x_train=IMAGES, y_train=LABELS)
    entry = Entry("one", "one file", "https://example.org", addresses=(served[1],), files={"one.npz": ""})
    with caplog.at_level(logging.INFO, "fmnist_bench"):
        assert files_of(entry) == cached / "one" / "one.npz"
    assert "one.npz (unchecked)" in caplog.text and "is unchecked: nobody states its hash" in caplog.text


def test_members_are_taken_out_of_an_archive(served, cached, monkeypatch):
    folder, address = served
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for stem, array in zip(STEMS, (IMAGES, LABELS) * 2, strict=True):
            for split in ("letters", "digits"):
                name = f"gzip/emnist-{split}-{stem.replace('t10k', 'test')}.gz"
                archive.writestr(name, gzip.compress(idx(array)))
    files = {"gzip.zip": sha256(folder / "gzip.zip")}
    entry = Entry("sheared", "", "", addresses=(address,), files=files, unpack="gzip/emnist-letters-*")
    register(monkeypatch, entry)
    data = load_dataset("sheared", "test")
    np.testing.assert_array_equal(data.X, IMAGES.swapaxes(1, 2).reshape(N, -1))  # EMNIST lies on its side
    left = cached / "sheared" / "unpacked" / "emnist-letters-train-images-idx3-ubyte.gz"
    left.rename(cached / "sheared" / left.name)  # as if unpacking had been killed half way
    shutil.rmtree(left.parent)
    assert load_dataset("sheared", "test").fingerprint == data.fingerprint, "unpacked again"
    (cached / "sheared" / "gzip.zip").unlink()
    assert load_dataset("sheared").fingerprint, "the archive is not needed again"


def test_option_and_benchmark_file_take_the_same_names_by_one_rule(tmp_path, monkeypatch):
    assert resolve("digits") == ("digits", None) and resolve("openml:554") == ("openml:554", None)
    (tmp_path / "fashion").mkdir()
    contents = [idx(array) for array in (IMAGES, LABELS) * 2]
    hashes = {stem: hashlib.sha256(content).hexdigest() for stem, content in zip(STEMS, contents, strict=True)}
    for stem, content in zip(STEMS, contents, strict=True):
        (tmp_path / "fashion" / stem).write_bytes(content)
    assert resolve(tmp_path / "fashion") == (str(tmp_path / "fashion"), None)
    monkeypatch.setattr(fashion_mnist, "SHA256", hashes)
    assert resolve(tmp_path / "fashion") == ("fashion-mnist", tmp_path / "fashion")
    assert load_dataset(tmp_path / "fashion").name == "fashion-mnist"
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "b.toml").write_text('data = "fashion"\nstudies = ["knn"]\n')
    monkeypatch.chdir(tmp_path)
    named = arguments.with_data(arguments.load_benchmark("b"), None)
    given = arguments.with_data(arguments.load_benchmark("knn"), "fashion")
    assert (named[0].data, named[1]) == (given[0].data, given[1]) == ("fashion-mnist", tmp_path / "fashion")
    assert absolute("digits") == "digits" and absolute("own") == str(tmp_path / "own")


ARFF = "@RELATION small\n{columns}@ATTRIBUTE class {{{classes}}}\n@DATA\n{rows}"


def as_openml(home, number, images, labels):
    """Write a data set into scikit-learn's cache as OpenML answers: description, features, qualities, ARFF."""
    names = [f"pixel{column + 1}" for column in range(images[0].size)]
    columns = "".join(f"@ATTRIBUTE {name} integer\n" for name in names)
    labels = [f"'{label}'" if " " in str(label) else label for label in labels]
    rows = "".join(
        ",".join(map(str, [*image.ravel(), label])) + "\n" for image, label in zip(images, labels, strict=True)
    )
    classes = ",".join(map(str, sorted(set(labels))))
    arff = ARFF.format(columns=columns, classes=classes, rows=rows).encode()
    plain = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
    features = [
        {"index": str(i), "name": name, "data_type": "numeric", "is_target": "false", **plain}
        for i, name in enumerate(names)
    ]
    features.append({"index": "99", "name": "class", "data_type": "nominal", "is_target": "true", **plain})
    about = {
        "id": str(number),
        "name": "small",
        "version": "1",
        "status": "active",
        "format": "ARFF",
        "url": f"https://www.openml.org/data/v1/download/{number}/small.arff",
        "md5_checksum": hashlib.md5(arff).hexdigest(),
    }
    qualities = [{"name": "NumberOfInstances", "value": str(len(images))}]
    answers = {
        f"api/v1/json/data/{number}": json.dumps({"data_set_description": about}).encode(),
        f"api/v1/json/data/features/{number}": json.dumps({"data_features": {"feature": features}}).encode(),
        f"api/v1/json/data/qualities/{number}": json.dumps({"data_qualities": {"quality": qualities}}).encode(),
        f"data/v1/download/{number}/small.arff": arff,
    }
    for name, content in answers.items():
        path = home / "openml" / "openml.org" / f"{name}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize("labels", [list(range(3)), ["bag", "boot", "winter coat"]])
def test_a_number_of_openml_is_read_through_scikit_learn(cached, labels):
    as_openml(cached / "openml", 40996, IMAGES, labels * 8)
    train, test = load_dataset("openml:40996"), load_dataset("openml:40996", "test")
    assert train.name == "openml-40996" and train.image_shape == (4, 4)
    assert train.classes.tolist() == labels and len(train.y) == 20 and len(test.y) == 4
    rows = {row.tobytes() for row in np.concatenate([train.X, test.X])}
    assert rows == {image.tobytes() for image in IMAGES}
    assert train.notes == ("no test rows were given: 4 of 24 rows, a sixth of each class, are held out (seed 0)",)


def test_the_official_split_is_kept_where_the_rows_of_openml_are_known(cached, monkeypatch, fashion_mnist):
    parts = [load_dataset("fashion-mnist", part, path=fashion_mnist) for part in ("train", "test")]
    X, y = np.concatenate([part.X for part in parts]), np.concatenate([part.y for part in parts])
    monkeypatch.setattr(openml, "_fetch", lambda number, home: (X.astype(np.float64), y.astype(str).astype(object)))
    train, test = load_dataset("openml:40996"), load_dataset("openml:40996", "test")
    for part, known in zip((train, test), parts, strict=True):
        assert np.array_equal(part.X, known.X) and np.array_equal(part.y, known.y)
        assert "official test rows are kept" in part.notes[0]
    assert openml.official_train_rows(X[::-1], y[::-1]) is None, "other rows, or another order"
    assert openml.official_train_rows(X[:100], y[:100]) is None


def test_what_openml_cannot_give_is_said_in_one_line(cached, monkeypatch):
    with pytest.raises(InputError, match="openml:mnist: needed: the number of a data set"):
        load_dataset("openml:mnist")
    monkeypatch.setattr("sklearn.datasets._openml._DATA_INFO", "http://127.0.0.1:1/{}")
    with pytest.raises(
        InputError, match="openml:61: cannot be fetched from https://www.openml.org/d/61: .*refused"
    ) as caught:
        load_dataset("openml:61")
    assert "\n" not in str(caught.value) and str(cached / "openml") in str(caught.value)
