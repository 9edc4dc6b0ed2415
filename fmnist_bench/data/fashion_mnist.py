"""Where the four files of Fashion-MNIST come from, and the proof that they are the right ones.

The places on this machine are tried first, then three mirrors, then the Debian archive: that one
is often reachable where nothing else is, because machines are installed and updated from it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from fmnist_bench._utils.downloads import fetch
from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench._utils.files import expanded
from fmnist_bench.data.places import CONNECT_SECONDS, own_cache, workplace
from fmnist_bench.data.readers.idx import find_file, locate, read_chunks
from fmnist_bench.data.registry import entries

log = logging.getLogger(__name__)
T = TypeVar("T")

DATA_VARIABLE = "FMNIST_BENCH_DATA"
ROW = entries()["fashion-mnist"]
SHA256 = ROW.hashes  # of the decompressed files
MIRRORS = ROW.addresses
LARGEST = 47_040_016
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
APT_UPDATE_SECONDS = 120.0
APT_DOWNLOAD_SECONDS = 300.0


class AbsentError(InputError):
    """A place holds nothing or cannot be reached: the next one is tried without a warning."""


def find_fashion_mnist(path: str | os.PathLike[str] | None = None, download: bool = True) -> Path:
    """Return a folder with the four verified files of Fashion-MNIST, fetching them if need be.

    Parameters
    ----------
    path : path-like, optional
        Folder with the IDX files, ``.gz`` or plain. Default: the environment variable
        ``FMNIST_BENCH_DATA``, else the known places in turn.
    download : bool
        Whether to fetch them where this machine does not have them.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        The given folder is not usable, or every known place failed.
    """
    return first_usable(path, verify, download)


def first_usable(path: str | os.PathLike[str] | None, use: Callable[[Path], T], download: bool = True) -> T:
    """Return ``use(folder)`` of the first folder for which it raises no `InputError`.

    A folder that the user names is the only one tried: silently reading other data is worse than failing.
    """
    if path is not None:
        return use(expanded(path))
    if named := os.environ.get(DATA_VARIABLE):
        try:
            return use(expanded(named))
        except InputError as error:
            raise InputError(f"{DATA_VARIABLE}={named}: {error}") from error
    tried = []
    for label, source in [*_places(), *(_sources() if download else ())]:
        try:
            folder = source()
            result = use(folder)
        except AbsentError as error:
            log.debug("Fashion-MNIST: %s: %s", label, error)
            tried.append(f"{label} ({error})")
        except InputError as error:
            warnings.warn(f"Fashion-MNIST: {label} skipped: {error}", stacklevel=3)
            tried.append(f"{label} ({error})")
        else:
            log.debug("Fashion-MNIST: read from %s", folder)
            return result
    raise InputError(
        f"Fashion-MNIST not found; set {DATA_VARIABLE} to a folder that holds its four IDX files. Tried: "
        + "; ".join(tried)
    )


def _places() -> Iterator[tuple[str, Callable[[], Path]]]:
    keras_home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    yield "Debian package", lambda: _present(DEBIAN_FOLDER)
    yield "Keras' cache", lambda: _present(Path(keras_home, "datasets", "fashion-mnist"))
    yield "own cache", lambda: _present(own_cache())


def _sources() -> Iterator[tuple[str, Callable[[], Path]]]:
    yield "download", lambda: download(own_cache())
    yield "Debian archive", lambda: fetch_from_debian(own_cache())


def _present(folder: Path) -> Path:
    if not any(find_file(folder, stem) for stem in SHA256):
        raise AbsentError(f"nothing in {folder}")
    return folder


def read_verified(folder: Path, stem: str) -> bytes:
    """Return the decompressed content of one file of Fashion-MNIST; a wrong one is an `InputError`."""
    file = locate(folder, stem)
    content = b"".join(read_chunks(file, LARGEST + 1))
    _check(file, stem, hashlib.sha256(content).hexdigest())
    return content


def is_fashion_mnist(folder: Path) -> bool:
    """Tell whether any of the four files is that of Fashion-MNIST; then the others must be, too."""
    for stem in reversed(SHA256):
        try:
            _check(folder, stem, _digest(locate(folder, stem)))
        except InputError:
            continue
        return True
    return False


def verify(folder: Path) -> Path:
    """Return `folder` if its four files have the right content, else raise `InputError`."""
    for stem in SHA256:
        file = locate(folder, stem)
        _check(file, stem, _digest(file))
    return folder


def _digest(file: Path) -> str:
    """SHA-256, chunk by chunk, so that the test rows are never held in a process that did not ask for them."""
    digest = hashlib.sha256()
    for chunk in read_chunks(file, LARGEST + 1):
        digest.update(chunk)
    return digest.hexdigest()


def _check(file: Path, stem: str, found: str) -> None:
    if found != SHA256[stem]:
        raise InputError(
            f"{file}: decompressed SHA-256 is {found}, expected {SHA256[stem]}: damaged, not Fashion-MNIST, or a copy "
            "from before 31 August 2017, whose train and test rows overlap (a .gz may differ between distributors, "
            "its content may not)"
        )


def download(cache: Path) -> Path:
    """Download the four files into `cache` from the first mirror that answers and is right."""
    reasons = []
    for mirror in MIRRORS:
        log.info("Fashion-MNIST: downloading 31 MB from %s", mirror)
        try:
            with workplace(cache) as folder:
                for stem in SHA256:
                    fetch(f"{mirror}{stem}.gz", Path(folder, f"{stem}.gz"), CONNECT_SECONDS, log)
                return _install(Path(folder), cache)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            reasons.append(f"{mirror}: {one_line(error)}")
    raise AbsentError("; ".join(reasons))


def fetch_from_debian(cache: Path) -> Path:
    """Fetch the Debian package with apt, without root, and put its four files into `cache`."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise AbsentError(f"{program} is not installed")
    log.info("Fashion-MNIST: fetching the package %s with apt-get", DEBIAN_PACKAGE)
    try:
        with workplace(cache) as name:
            folder = Path(name)
            apt = _apt_command(folder)
            last = _call([*apt, "update"], folder, APT_UPDATE_SECONDS)
            if not any((folder / "lists").glob("*_Packages*")):  # apt-get ends with status 0 all the same
                raise ValueError(f"apt-get update brought no package list: {last}")
            _call([*apt, "download", DEBIAN_PACKAGE], folder, APT_DOWNLOAD_SECONDS)
            package = next(folder.glob(f"{DEBIAN_PACKAGE}_*.deb"))
            _call(["dpkg-deb", "-x", package.name, "content"], folder, APT_DOWNLOAD_SECONDS)
            return _install(folder / "content" / DEBIAN_FOLDER.relative_to("/"), cache)
    except (OSError, ValueError, StopIteration, subprocess.SubprocessError) as error:
        raise AbsentError(one_line(error) or "no package came") from error


def _apt_command(folder: Path) -> list[str]:
    """Return apt-get with lists and cache in `folder`: the system's may be empty, and are root's."""
    for name in ("lists", "cache"):
        (folder / name).mkdir()
    options = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # "_apt" may not write into our folder
        "Acquire::Languages": "none",
        "Acquire::Retries": 0,
        "Acquire::http::Timeout": int(CONNECT_SECONDS),
        "Acquire::https::Timeout": int(CONNECT_SECONDS),
    }
    return ["apt-get", "-q", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]


def _call(command: list[str], folder: Path, seconds: float) -> str:
    """Run a program in `folder`; return the last line of its messages."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=seconds, capture_output=True, text=True, errors="replace"
    )
    action = "update" if command[-1] == "update" else "download" if command[0] == "apt-get" else "-x"
    log.debug("%s %s: status %d: %s", command[0], action, done.returncode, done.stdout + done.stderr)
    last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
    if done.returncode:
        raise ValueError(f"{command[0]} {action} failed with status {done.returncode}: {last}")
    return last


def _install(folder: Path, cache: Path) -> Path:
    verify(folder)
    for stem in SHA256:
        file = locate(folder, stem)
        os.replace(file, cache / file.name)
    return cache
