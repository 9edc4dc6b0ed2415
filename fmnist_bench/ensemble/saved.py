"""A saved ensemble: a folder with a manifest and each member's own file; nothing in it is ever unpickled."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.environment import versions
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import link_or_copy
from fmnist_bench.ensemble.manifest import misfit, read_manifest, write_manifest
from fmnist_bench.models.saved import load_named, save_model
from fmnist_bench.storage.run_folder import MANIFEST


def write_bundle(
    folder: Path,
    members: Sequence[tuple[str, float, float, Path]],
    about: Mapping[str, Any],
    stacker: Path | None = None,
    own_place: bool = False,
) -> None:
    """Write saved models as one folder, which replaces what is there when it is whole.

    Parameters
    ----------
    folder : Path
        New, empty, or an ensemble that was saved earlier.
    members : list of (str, float, float, Path)
        Name, weight, temperature and file of each, as `save_model` wrote it.
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
        check_replaceable(folder)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    entries = [
        {"name": name, "weight": weight, "temperature": temperature, **_add(temporary, f"{i}-{name}", path)}
        for i, (name, weight, temperature, path) in enumerate(members)  # two may have one name
    ]
    combined = {"members": entries, "stacker": None if stacker is None else _add(temporary, "stacker", stacker)}
    write_manifest(temporary, {"versions": dict(versions()), **about, **combined})
    replace_folder(folder, temporary)


def save_bundle(
    folder: Path,
    members: Sequence[tuple[str, float, float, Any]],
    about: Mapping[str, Any],
    stacker: Any = None,
    allow_import: Sequence[str] = (),
) -> None:
    """Write fitted models as `write_bundle` writes saved ones, if they can be loaded again.

    Raises
    ------
    InputError
        Where a member is made of types that would not be loaded, or something else is there.
    """
    with tempfile.TemporaryDirectory() as place:

        def save(number: int, name: str, model: Any) -> Path:
            save_model(model, file := Path(place) / f"{number}.skops")
            load_named(file, name, allow_import)  # better refused now than when it is needed
            return file

        saved = [
            (name, w, temperature, save(i, f"member {name}", each))
            for i, (name, w, temperature, each) in enumerate(members)
        ]
        write_bundle(folder, saved, about, None if stacker is None else save(len(members), "stacker", stacker))


def check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but an ensemble."""
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= _own_files(folder)):
        raise InputError(f"{folder}: is there and is no saved ensemble; give another folder, or remove it first")


def _own_files(folder: Path) -> set[str]:
    """Names of the manifest and of the files that it lists; none where there is no manifest of an ensemble."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        _, entries = manifest["format_version"], [*manifest["members"], manifest.get("stacker")]
        return {MANIFEST, *(entry["file"] for entry in entries if entry is not None)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def replace_folder(folder: Path, new: Path) -> None:
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
        Where a file is missing, has changed, holds a type that is not trusted, or what no ensemble's can hold.
    """
    manifest = read_manifest(folder)
    members = [_load(folder, entry, allow_import) for entry in manifest["members"]]
    stacker = None if manifest["stacker"] is None else _load(folder, manifest["stacker"], allow_import)
    if fault := misfit(manifest, members, stacker):
        raise InputError(f"{folder}: {fault}")
    return manifest, members, stacker


def _add(folder: Path, name: str, source: Path) -> dict[str, Any]:
    target = folder / (name.replace("/", "-") + source.suffix)
    link_or_copy(source, target)
    return {"file": target.name, "sha256": digest_of_file(target)}


def check_bundle(folder: Path) -> None:
    """Refuse a saved ensemble that is not as it was written; its models are not loaded.

    Raises
    ------
    InputError
    """
    manifest = read_manifest(folder)
    for entry in filter(None, [*manifest["members"], manifest["stacker"]]):
        _whole(folder, entry)


def _whole(folder: Path, entry: Mapping[str, Any]) -> Path:
    path = folder / Path(entry["file"]).name
    if not path.is_file() or digest_of_file(path) != entry["sha256"]:
        raise InputError(f"{path}: missing or changed since the ensemble was saved")
    return path


def _load(folder: Path, entry: Mapping[str, Any], allow_import: Sequence[str]) -> Any:
    return load_named(_whole(folder, entry), f"{folder}, {_called(entry)}", allow_import)


def _called(entry: Mapping[str, Any]) -> str:
    return f"member {entry['name']}" if "name" in entry else "stacker"
