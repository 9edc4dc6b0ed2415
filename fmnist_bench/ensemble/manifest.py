"""The manifest of a saved ensemble: read, and checked for contradictions before it is believed."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isclose, prod
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.ensemble.selection import METHODS
from fmnist_bench.storage.run_folder import MANIFEST

FORMAT_VERSION = 1
DIGEST = "manifest_sha256"
LARGEST = 1e300  # whole numbers in JSON may be too large for a float
LONGEST = 255  # bytes of a file's name


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest with its own SHA-256."""
    manifest = {"format_version": FORMAT_VERSION, **content}
    (folder / MANIFEST).write_text(json.dumps({**manifest, DIGEST: _digest(manifest)}, indent=1) + "\n")


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return what the manifest of a saved ensemble says.

    Raises
    ------
    InputError
        Where it is missing, has changed, is of another format, or says what no ensemble's can.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        version = int(manifest["format_version"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{folder}: not a saved ensemble, {MANIFEST} cannot be read: {one_line(error)}") from error
    if version != FORMAT_VERSION:
        raise InputError(f"{folder}: format version {version}; this program reads {FORMAT_VERSION}")
    if manifest.pop(DIGEST, None) != _digest(manifest):
        raise InputError(f"{folder / MANIFEST}: changed since the ensemble was saved")
    if fault := next(_faults(manifest), None):
        raise InputError(f"{folder / MANIFEST}: {fault}")
    return manifest


def _digest(manifest: Mapping[str, Any]) -> str:
    return digest_of(json.dumps(manifest, sort_keys=True))


def _faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Find impossible values: a digest shows that nothing was changed, not who wrote it."""
    members, stacker = manifest.get("members"), manifest.get("stacker")
    if not _is_list_of(members, dict) or not members:
        yield "members must be a list of tables, at least one"
        return
    yield from (fault for member in members for fault in _member_faults(member))
    weights = [member.get("weight") for member in members]
    if not all(_is_number(weight, 0, 1) for weight in weights) or not isclose(sum(weights), 1, abs_tol=1e-6):
        yield "the weights of the members are not positive numbers that sum to one"
    if "stacker" not in manifest:
        yield "stacker is missing"
    elif stacker is not None:
        yield from _file_faults(stacker) if isinstance(stacker, dict) else ["stacker must be a table, or null"]
    if manifest.get("method") not in METHODS:
        yield f"method must be one of {', '.join(METHODS)}"
    if not _is_temperature(manifest.get("temperature")):
        yield f"temperature {manifest.get('temperature')!r}: must be a number above zero"
    if not isinstance(manifest.get("pixels"), bool):
        yield "pixels must be true or false"
    if not isinstance(manifest.get("encoded", False), bool):
        yield "encoded must be true or false"
    yield from _class_faults(manifest.get("classes"), manifest.get("class_names"))
    yield from _column_faults(manifest)


def _member_faults(member: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(member.get("name"), str):
        yield "every member must have a name"
    if not _is_temperature(member.get("temperature")):
        yield f"temperature {member.get('temperature')!r} of a member: must be a number above zero"
    yield from _file_faults(member)


def _file_faults(entry: Mapping[str, Any]) -> Iterator[str]:
    name, digest = entry.get("file"), entry.get("sha256")
    if not isinstance(name, str) or "\0" in name or len(name.encode(errors="replace")) > LONGEST:
        yield f"file must be a name of at most {LONGEST} bytes"
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        yield "sha256 must be 64 hexadecimal digits"


def _class_faults(classes: Any, names: Any) -> Iterator[str]:
    kinds = {type(each) for each in classes} if isinstance(classes, list) else set()
    if not any(kinds and kinds <= allowed for allowed in ({bool}, {int, float}, {str})):
        yield "classes must be a list of labels of one kind"
    elif sorted(set(classes)) != classes:
        yield "classes must be sorted, each once"
    elif names is not None and not (_is_list_of(names, str) and len(names) == len(classes)):
        yield "class_names must be as many words as there are classes"


def _column_faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    columns, shape, names = (manifest.get(name) for name in ("n_features_in", "image_shape", "feature_names_in"))
    if not isinstance(columns, int) or isinstance(columns, bool) or columns < 1:
        yield "n_features_in must be a whole number of at least 1"
    elif shape and not (_is_list_of(shape, int) and len(shape) in (2, 3) and min(shape) > 0 and prod(shape) == columns):
        yield f"image_shape must be height, width and perhaps channels of {columns} pixels"
    elif names and not (_is_list_of(names, str) and len(names) == columns):
        yield f"feature_names_in must be {columns} words"
    if not (manifest.get("background") is None or _is_number(manifest["background"], 0, 255)):
        yield "background must be a gray level, 0 to 255, or null"


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= min(high, LARGEST)


def _is_temperature(value: Any) -> bool:
    return _is_number(value, 0, inf) and 0 < value < inf


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(each) is kind for each in value)


def misfit(manifest: Mapping[str, Any], models: Sequence[Any], stacker: Any) -> str:
    """Say what the models of an ensemble contradict in its manifest; empty where they do not."""
    names = [member["name"] for member in manifest["members"]]
    n_classes = len(manifest["classes"])
    known = np.arange(n_classes) if manifest.get("encoded") else np.array(manifest["classes"])
    for name, model in zip(names, models, strict=True):
        if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
            return f"member {name} is no fitted classifier with predict_proba"
        if not np.isin(np.asarray(model.classes_), known).all():
            return f"member {name} knows other classes than the manifest"
        if getattr(model, "n_features_in_", manifest["n_features_in"]) != manifest["n_features_in"]:
            return f"member {name} takes {model.n_features_in_} columns, the manifest says {manifest['n_features_in']}"
    if stacker is not None and getattr(stacker, "n_features_in_", None) != len(models) * n_classes:
        return "the stacker belongs to other members or classes"
    return ""
