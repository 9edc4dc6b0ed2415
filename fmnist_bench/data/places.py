"""Where downloaded data are kept, and how a file gets there whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

CONNECT_SECONDS = 5.0


def own_cache() -> Path:
    """Return the folder that fetched files go to (it may not exist yet)."""
    import pooch

    return Path(pooch.os_cache("fmnist_bench"))


def workplace(cache: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a folder for files that are not whole yet."""
    cache.mkdir(parents=True, exist_ok=True)
    # Inside the cache: a rename is atomic only within one file system.
    return tempfile.TemporaryDirectory(dir=cache.absolute(), prefix=".part-", ignore_cleanup_errors=True)
