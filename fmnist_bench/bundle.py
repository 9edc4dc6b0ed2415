"""A saved ensemble: a folder with a manifest and each member's own file; nothing in it is ever unpickled."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Any

from fmnist_bench.environment import versions
from fmnist_bench.errors import InputError
from fmnist_bench.saved_models import load_named

FORMAT_VERSION = 3
OLDER = {  # what they did not say
    1: {"method": "greedy", "temperature": 1.0, "pixels": True, "stacker": None},
    2: {},
}
MANIFEST, DIGEST = "manifest.json", "manifest_sha256"


def write_bundle(
    folder: Path,
    members: Sequence[tuple[str, float, Path]],
    about: Mapping[str, Any],
    stacker: Path | None = None,
    own_place: bool = False,
) -> None:
    """Write saved models as one folder, which replaces what is there when it is whole.

    Parameters
    ----------
    folder : Path
        New, empty, or an ensemble that was saved earlier.
    members : list of (str, float, Path)
        Name, weight and file of each, as `save_model` wrote it.
    about : mapping
        What else the manifest says; JSON.
    stacker : Path or None
        File of the model that combines the members.
    own_place : bool
        Nobody else writes there: whatever is there is replaced.

    Raises
    ------
    InputError
        Where something else is there, which is left alone.
    """
    folder = folder.resolve()
    if not own_place:
        _check_replaceable(folder)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    manifest = {
        "format_version": FORMAT_VERSION,
        "versions": dict(versions()),
        **about,
        "members": [
            {"name": name, "weight": weight, **_add(temporary, f"{number}-{name}", path)}  # two may have one name
            for number, (name, weight, path) in enumerate(members)
        ],
        "stacker": None if stacker is None else _add(temporary, "stacker", stacker),
    }
    (temporary / MANIFEST).write_text(json.dumps({**manifest, DIGEST: _digest(manifest)}, indent=1) + "\n")
    _replace(folder, temporary)


def _check_replaceable(folder: Path) -> None:
    """Refuse what holds anything but an ensemble: it would be deleted."""
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= _own_files(folder)):
        raise InputError(f"{folder}: is there and is no saved ensemble; give another folder, or remove it first")


def _own_files(folder: Path) -> set[str]:
    """Names of the manifest and of the files that it lists; none where there is no manifest of an ensemble."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        _, entries = manifest["format_version"], [*manifest["members"], manifest.get("stacker")]
        return {MANIFEST, *(entry["file"] for entry in entries if entry is not None)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _replace(folder: Path, new: Path) -> None:
    """Put `new` in the place of `folder`; a moment aside, the one or the other is there whole."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def read_bundle(folder: Path, allow_import: Sequence[str] = ()) -> tuple[Mapping[str, Any], list[Any], Any]:
    """Return the manifest, the members in its order, and the model that combines them, if there is one.

    Raises
    ------
    InputError
        Where a file is missing, has changed, or holds a type that is not trusted.
    """
    manifest = read_manifest(folder)
    members = [_load(folder, entry, allow_import) for entry in manifest["members"]]
    stacker = manifest["stacker"]
    return manifest, members, None if stacker is None else _load(folder, stacker, allow_import)


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return what the manifest of a saved ensemble says.

    Raises
    ------
    InputError
        Where it is missing, has changed, or is of another format.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        version = int(manifest["format_version"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{folder}: not a saved ensemble, {MANIFEST} cannot be read: {error}") from error
    if version != FORMAT_VERSION and version not in OLDER:
        raise InputError(
            f"{folder}: format version {version}; this program reads 1 to {FORMAT_VERSION}, a newer one may read it"
        )
    digest = manifest.pop(DIGEST, None)  # the older ones had none
    if (version not in OLDER or digest is not None) and digest != _digest(manifest):
        raise InputError(f"{folder / MANIFEST}: changed since the ensemble was saved")
    manifest = {**OLDER.get(version, {}), **manifest}
    if fault := _fault(manifest):
        raise InputError(f"{folder / MANIFEST}: {fault}")
    return manifest


def _fault(manifest: Mapping[str, Any]) -> str:
    """Name what a manifest that nobody vouches for, of an older format, lacks; empty where it lacks nothing."""
    try:
        weights = [float(entry["weight"]) for entry in manifest["members"]]
        files = [entry for entry in (*manifest["members"], manifest["stacker"]) if entry is not None]
        _ = [(Path(entry["file"]), entry["sha256"]) for entry in files], manifest["members"][0]["name"]
        _ = [int(size) for size in manifest.get("image_shape") or ()]
        _ = manifest["method"], manifest["classes"], manifest["pixels"], int(manifest["n_features_in"])
        temperature = float(manifest["temperature"])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        return f"cannot be read: {type(error).__name__} {error}"
    if not (min(weights) >= 0 and isclose(sum(weights), 1, abs_tol=1e-6)):
        return "the weights of the members are not positive numbers that sum to one"
    return "" if 0 < temperature < float("inf") else f"temperature {temperature}: must be above zero"


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _add(folder: Path, name: str, source: Path) -> dict[str, Any]:
    target = folder / (name.replace("/", "-") + source.suffix)
    link_or_copy(source, target)
    return {"file": target.name, "sha256": _sha256(target)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(folder: Path, entry: Mapping[str, Any], allow_import: Sequence[str]) -> Any:
    path = folder / Path(entry["file"]).name
    if not path.is_file() or _sha256(path) != entry["sha256"]:
        raise InputError(f"{path}: missing or changed since the ensemble was saved")
    return load_named(path, f"{folder}, {_called(entry)}", allow_import)


def _called(entry: Mapping[str, Any]) -> str:
    return f"member {entry['name']}" if "name" in entry else "stacker"
