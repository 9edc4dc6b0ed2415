"""The verb `export`, and the same from Python: an ensemble becomes one file, checked before it is there."""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import expanded, replacing, write_text
from fmnist_bench.data.pixels import as_rows
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.ensemble.manifest import read_manifest
from fmnist_bench.ensemble.rechoose import train_rows
from fmnist_bench.export.members import valid_accuracies, without
from fmnist_bench.storage.find_runs import find_runs, newest_run, open_folder
from fmnist_bench.storage.run_folder import EXPORT, EXPORT_FACTS, MANIFEST, STATE, Run, read_split

if TYPE_CHECKING:
    from fmnist_bench.export.agreement import Agreement

LIBRARIES = ("onnx", "onnxruntime", "skl2onnx")  # of the extra


@dataclass(frozen=True)
class Source:
    """A saved ensemble, and the run whose trials it is made of."""

    folder: Path
    run: Run


def export_onnx(ensemble: StackedEnsemble, path: str | Path, X: ArrayLike, *, drop: Sequence[str] = ()) -> "Agreement":
    """Write an ensemble as one ONNX file, if it computes the same.

    Parameters
    ----------
    ensemble : StackedEnsemble
        Fitted on whole numbers of 0 to 255.
    path : str or Path
        File to write; one that is there is replaced.
    X : array-like of shape (n, n_features), or images
        Rows like those of `fit`, on which both are compared; the first 1,000.
    drop : sequence of str
        Names of members to leave out.

    Returns
    -------
    Agreement
        How far the file's probabilities are from the ensemble's, which compute in float32 for this.

    Raises
    ------
    InputError
        Where a library is missing, a member has no converter, or the file differs by more than 1e-4 in a probability.
        No file is left then.
    """
    check_libraries()
    from fmnist_bench.export.agreement import ROWS, compare
    from fmnist_bench.export.combination import to_model, unsupported

    kept, path = without(ensemble, drop), expanded(path)
    if unknown := unsupported(kept):
        said = "; ".join(f"member {name}: {reason}" for name, reason in unknown.items())
        raise InputError(f"{said} (--drop {' '.join([*drop, *unknown])} leaves out what cannot be exported)")
    rows = np.asarray(as_rows(np.asarray(X)), dtype=np.uint8)[:ROWS]
    found = compare(kept, to_model(kept, members_too=True).SerializeToString(), rows)
    if found.fault:
        raise InputError(f"{path}: not written: {found.fault}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(to_model(kept).SerializeToString())
    return found


def check_libraries() -> None:
    """Refuse to begin where a library is missing.

    Raises
    ------
    InputError
    """
    if missing := [name for name in LIBRARIES if importlib.util.find_spec(name) is None]:
        raise InputError(f'export needs {", ".join(missing)}: pip install "fmnist-bench[onnx]"')


def export_run(
    name: str | Path,
    mlruns: str | Path = "mlruns",
    *,
    drop: Sequence[str] = (),
    out: str | Path | None = None,
    allow_import: Sequence[str] = (),
) -> Iterator[str]:
    """Export the ensemble of a run, and measure it.

    Parameters
    ----------
    name : str or Path
        As `newest_run` takes it; or the folder of a saved ensemble whose run is below `mlruns`.
    mlruns : str or Path
    drop : sequence of str
        Names of members to leave out.
    out : str, Path or None
        File to write; None puts it into the folder of the run.
    allow_import : sequence of str
        Prefixes of further types that members may be made of.

    Yields
    ------
    str
        Lines for a terminal.
    """
    check_libraries()
    from fmnist_bench.export.agreement import ROWS
    from fmnist_bench.export.timing import latencies

    source = find_source(Path(name), mlruns)
    ensemble = load_ensemble(source.folder, allow_import)
    file = source.run.folder / EXPORT if out is None else expanded(out)
    X = train_rows(source.run).X[read_split(source.run.folder, "validation")]
    accuracies = valid_accuracies(source.run, ensemble, without(ensemble, drop))
    found = export_onnx(ensemble, file, X[:ROWS], drop=drop)
    facts: dict[str, Any] = {
        **asdict(found),
        "file": str(file.resolve()),
        "bytes": file.stat().st_size,
        "sha256": digest_of_file(file),
        "original_bytes": sum(each.stat().st_size for each in source.folder.iterdir()),
        "dropped": list(drop),
        "valid_accuracies": accuracies,
        "manifest": digest_of_file(source.folder / MANIFEST),
        "machine": machine(),
    }
    yield from _said(facts)
    try:
        facts["latency"] = latencies(source.folder, file, X[:ROWS], drop, allow_import)
        yield from _table(facts["latency"])
    except InputError as error:  # the file is good all the same
        facts["latency"] = []
        yield str(error)
    places = [file.with_name(file.name + ".json")]
    if source.folder == source.run.ensemble_folder:
        places.append(source.run.folder / EXPORT_FACTS)
    for place in dict.fromkeys(places):
        write_text(place, json.dumps(facts, indent=1) + "\n")
    if len(places) > 1 or places[0] == source.run.folder / EXPORT_FACTS:
        yield f"python -m fmnist_bench report {name} adds this to the report"


def find_source(name: Path, mlruns: str | Path) -> Source:
    """Find an ensemble, and its run, by what a user calls it.

    Raises
    ------
    InputError
        Where there is none.
    """
    if not (name / MANIFEST).is_file():
        run = open_folder(newest_run(name, mlruns))
        return Source(run.ensemble_folder, run)
    fingerprint = read_manifest(name).get("fingerprint")
    beside = [name.resolve().parent] if (name.resolve().parent / STATE).is_file() else []
    for folder in [*beside, *(find_runs([], mlruns) if Path(mlruns).is_dir() else [])]:
        if (run := open_folder(folder)).state.get("fingerprint") == fingerprint:
            return Source(name.resolve(), run)
    raise InputError(
        f"{name}: no run below {mlruns} has learnt from the same rows, some of which would be compared; "
        "fmnist_bench.export_onnx(ensemble, path, X) takes them"
    )


def _said(facts: dict[str, Any]) -> Iterator[str]:
    size, original = facts["bytes"] / 2**20, facts["original_bytes"] / 2**20
    yield f"{os.path.relpath(facts['file'])}: {size:.1f} MiB (the ensemble's folder: {original:.1f} MiB)"
    yield (
        f"agrees with the original on {facts['rows']:,} validation rows: probabilities to {facts['difference']:.1e}, "
        f"{facts['same_labels']:,} labels"
    )
    if facts["dropped"] and facts["valid_accuracies"]:
        before, after = (100 * each for each in facts["valid_accuracies"])
        yield (
            f"without {', '.join(facts['dropped'])}: {after:.2f} % of the validation rows right instead of "
            f"{before:.2f} % ({after - before:+.2f} points)"
        )


def _table(latency: Sequence[dict[str, float]]) -> Iterator[str]:
    yield f"{'cores':>5}  {'rows at a time':>14}  {'file, ms a row':>14}  {'original, ms a row':>18}"
    for row in latency:
        yield f"{row['cores']:>5}  {row['rows']:>14,}  {row['onnx']:>14.3f}  {row['original']:>18.3f}"
