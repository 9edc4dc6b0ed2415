"""A saved ensemble: a folder with a manifest and each member's own file; nothing in it is ever unpickled."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_bench.candidate import load_model
from fmnist_bench.environment import versions
from fmnist_bench.errors import InputError

FORMAT_VERSION = 2
OLDER = {1: {"method": "greedy", "temperature": 1.0, "pixels": True, "stacker": None}}  # what they did not say
MANIFEST = "manifest.json"


def write_bundle(
    folder: Path,
    members: Sequence[tuple[str, float, Path]],
    about: Mapping[str, Any],
    stacker: Path | None = None,
) -> None:
    """Write saved models as one folder, which replaces what is there when it is whole.

    Parameters
    ----------
    folder : Path
    members : list of (str, float, Path)
        Name, weight and file of each, as `save_model` wrote it.
    about : mapping
        What else the manifest says; JSON.
    stacker : Path or None
        File of the model that combines the members.
    """
    temporary = folder.with_name(folder.name + ".tmp")
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
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


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
        Where it is missing, or of another format.
    """
    try:
        manifest: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text())
        version = manifest["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not a saved ensemble, {MANIFEST} cannot be read: {error}") from error
    if version != FORMAT_VERSION and version not in OLDER:
        raise InputError(
            f"{folder}: format version {version}; this program reads 1 to {FORMAT_VERSION}, a newer one may read it"
        )
    return {**OLDER.get(version, {}), **manifest}


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
    return load_model(path, allow_import)
