"""Finds the folders of runs that a user names, without changing anything in them."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench._utils.files import expanded
from fmnist_bench.storage.run_folder import STATE, Run, Store, read_state


def find_runs(names: Sequence[str | Path], mlruns: str | Path = "mlruns") -> list[Path]:
    """Find runs by what a user calls them, in the order of the names.

    Parameters
    ----------
    names : sequence of str or Path
        Each the folder of a run, a folder of results such as ``mlruns``, or below `mlruns` the name of a benchmark or
        of a run's folder. None at all stands for every run below `mlruns`.
    mlruns : str or Path

    Returns
    -------
    list of Path
        Each once; the runs of one name oldest first.

    Raises
    ------
    InputError
        Where a name is of nothing that holds a run.
    """
    found = [folder for name in (names or [mlruns]) for folder in _called(expanded(name), Path(mlruns))]
    return list(dict.fromkeys(found))


def newest_run(name: str | Path, mlruns: str | Path = "mlruns") -> Path:
    """Find the run that `name` means, as `find_runs` takes it; of several the one that was written last.

    One that is damaged is taken where there is no other.
    """
    return max(
        find_runs([name], mlruns), key=lambda folder: (bool(_benchmark(folder)), (folder / STATE).stat().st_mtime)
    )


def run_names(mlruns: str | Path = "mlruns") -> list[str]:
    """Name the benchmarks that were run, and the folders of their runs, in alphabetical order."""
    folders = _below(Path(mlruns))
    return sorted({*map(_benchmark, folders), *(folder.name for folder in folders)} - {""})


def open_folder(folder: Path) -> Run:
    """Open the run in a folder without changing anything; as a context manager it is locked as any other."""
    return Run(Store(folder.parent.parent, writes=False), folder, "")


def _called(name: Path, mlruns: Path) -> list[Path]:
    if (name / STATE).is_file():
        return [name.resolve()]
    if inside := _below(name):
        return inside
    known = {folder: _benchmark(folder) for folder in _below(mlruns)}
    if not (found := [folder for folder, benchmark in known.items() if str(name) in (benchmark, folder.name)]):
        meant = nearest(str(name), run_names(mlruns))
        raise InputError(f"{name}: is no folder of a run, and {mlruns} holds no run of that name{meant}")
    return found


def _below(mlruns: Path) -> list[Path]:
    """Folders of the runs in a folder of results, the oldest first."""
    states = [path for path in mlruns.glob(f"runs/*/{STATE}") if path.is_file()]
    return [path.parent.resolve() for path in sorted(states, key=lambda path: (_created(path), path))]


def _created(path: Path) -> float:
    with contextlib.suppress(InputError):
        return float(read_state(path)["created"])
    return 0.0


def _benchmark(folder: Path) -> str:
    with contextlib.suppress(InputError):
        return str(read_state(folder / STATE)["benchmark"])
    return ""
