"""Mutated data sets and manifests: arrays and values exchanged, then bytes."""

import io
import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from fmnist_bench import StackedEnsemble, load_ensemble
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.readers.idx import IDX_FILES
from fmnist_bench.ensemble.manifest import DIGEST, _digest
from fmnist_bench.storage.run_folder import MANIFEST

JSON = (
    None,
    True,
    0,
    -1,
    1.5,
    1e400,
    float("nan"),
    10**400,
    "",
    "\0",
    "\ud800",
    "../../x",
    "x" * 300,
    [],
    {},
    [[]],
    [{}],
)


def change_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut, duplicate or insert bytes, one to three times."""
    found = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        a, b = sorted(chance.randrange(len(found) + 1) for _ in range(2))
        b = min(b, a + chance.choice((1, 4, 64, 10**6)))
        change = chance.randrange(4)
        if change == 0 and found:
            found[min(a, len(found) - 1)] ^= 1 << chance.randrange(8)
        elif change == 1:
            del found[a:b]
        elif change == 2:
            found[a:a] = found[a:b]
        else:
            found[a:a] = chance.randbytes(chance.choice((1, 2, 8)))
    return bytes(found)


def make_data(place: Path, chance: random.Random) -> tuple[str, Callable[[], object]]:
    arrays = _arrays(chance)
    if chance.random() < 0.5:
        return _make_npz(place / "own.npz", arrays, chance)
    return _make_idx(place / "idx", arrays, chance)


def _arrays(chance: random.Random) -> dict[str, Any]:
    """Images and labels of train and test; in half of the cases one of them is no such thing."""
    values = np.random.default_rng(chance.randrange(2**32))
    found: dict[str, Any] = {}
    for part, n in (("train", 12), ("test", 6)):
        found[f"x_{part}"] = values.integers(0, 256, (n, 4, 4), np.uint8)
        found[f"y_{part}"] = np.arange(n) % 3
    if chance.random() < 0.5:
        name = chance.choice(list(found))
        found[name] = chance.choice(ARRAYS)(found[name])
    return found


ARRAYS: tuple[Callable[[Any], Any], ...] = (
    lambda a: a.astype(float) * np.nan,
    lambda a: a.astype(float) / 3,
    lambda a: a.astype(np.int64) * 10**15,
    lambda a: -a.astype(np.int64),
    lambda a: a.astype(str),
    lambda a: a.astype(object),
    lambda a: a.astype(complex),
    lambda a: a.astype("datetime64[s]"),
    lambda a: a.astype(bool),
    lambda a: a.astype(np.float16) * np.inf,
    lambda a: a[:0],
    lambda a: a[:1],
    lambda a: a[..., None],
    lambda a: a.reshape(-1),
    lambda a: a[0],
    lambda a: np.array(7),
    lambda a: np.array([], dtype="V8"),
    lambda a: np.zeros(len(a), dtype=[("a", int), ("b", float)]),
    lambda a: np.repeat(a, 3, axis=-1),
    lambda a: a[:, :0] if a.ndim > 1 else a[:-1],
)


def _make_npz(path: Path, arrays: dict[str, Any], chance: random.Random) -> tuple[str, Callable[[], object]]:
    if chance.random() < 0.2:
        arrays[chance.choice(("x_train", "X", "images", "", "../x", "y"))] = arrays.pop(chance.choice(list(arrays)))
    file = io.BytesIO()
    chance.choice((np.savez, np.savez_compressed))(file, **arrays)
    content = file.getvalue() if chance.random() < 0.3 else change_bytes(file.getvalue(), chance)

    def use() -> None:
        path.write_bytes(content)
        _load(path)

    return content.decode("latin-1"), use


def _make_idx(folder: Path, arrays: dict[str, Any], chance: random.Random) -> tuple[str, Callable[[], object]]:
    names = [name for part in ("train", "test") for name in IDX_FILES[part]]
    files = {
        f: _idx(arrays[key], chance) for f, key in zip(names, ("x_train", "y_train", "x_test", "y_test"), strict=True)
    }
    for name in chance.sample(names, chance.choice((0, 1, 1, 2))):
        files[name] = change_bytes(files[name], chance)
    if chance.random() < 0.1:
        files[f"{chance.choice(names)}.gz"] = files.pop(chance.choice(names))

    def use() -> None:
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        _load(folder)

    return ascii(files), use


def _idx(array: Any, chance: random.Random) -> bytes:
    """Write an array as an IDX file; what IDX has no code for as bytes."""
    found = np.asarray(array)
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}.get(found.dtype.str[1:], 8)
    if code == 8 and found.dtype.kind in "iu":
        found = found.astype(np.uint8)
    plain = found if found.dtype.kind in "iuf" else np.frombuffer(repr(found).encode(), np.uint8)
    code = code if chance.random() < 0.95 else chance.randrange(256)
    return bytes([0, 0, code, plain.ndim]) + struct.pack(f">{plain.ndim}I", *plain.shape) + plain.tobytes()


def _load(path: Path) -> None:
    for subset in ("train", "test"):
        load_dataset(path, subset)


def save_ensemble(folder: Path) -> Path:
    """Save a small ensemble."""
    data = load_dataset("digits")
    X, y = data.X[:200], data.y[:200]
    members = [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]
    StackedEnsemble(members).fit(X, y).save(folder)
    return folder


def make_manifest(folder: Path, chance: random.Random) -> tuple[str, Callable[[], object]]:
    """Change values of the manifest, mostly with the digest that it should have then, or bytes of it."""
    original = (folder / MANIFEST).read_text(encoding="utf-8")
    manifest = json.loads(original)
    manifest.pop(DIGEST)
    for _ in range(chance.choice((1, 1, 2))):
        _change_json(manifest, chance)
    if chance.random() < 0.75:
        manifest[DIGEST] = _digest(manifest)
    content = json.dumps(manifest).encode()
    if chance.random() < 0.2:
        content = change_bytes(content, chance)
    if chance.random() < 0.01:
        content = chance.choice((b"[", b'{"a":')) * 100_000

    def use() -> None:
        (folder / MANIFEST).write_bytes(content)
        try:
            ensemble = load_ensemble(folder)
            ensemble.predict(np.zeros((2, ensemble.n_features_in_)))
        finally:
            (folder / MANIFEST).write_text(original, encoding="utf-8")

    return content.decode("latin-1"), use


def _change_json(content: Any, chance: random.Random) -> None:
    """Replace, drop or double a value somewhere within."""
    places: list[tuple[Any, Any]] = []
    stack = [content]
    while stack:
        for key, value in list(_entries(parent := stack.pop())):
            places.append((parent, key))
            stack += [value] if isinstance(value, (dict, list)) else []
    parent, key = chance.choice(places)
    change = chance.randrange(10)
    if change == 0:
        del parent[key]
    elif change == 1 and isinstance(parent, list):
        parent.append(parent[key])
    elif change == 2:
        other, name = chance.choice(places)
        parent[key] = json.loads(json.dumps(dict(_entries(other))[name]))
    elif change == 3 and isinstance(parent, dict):
        parent[f"{key} "] = parent.pop(key)
    else:
        parent[key] = chance.choice(JSON)


def _entries(table: Any) -> Iterator[tuple[Any, Any]]:
    return iter(table.items() if isinstance(table, dict) else enumerate(table))
