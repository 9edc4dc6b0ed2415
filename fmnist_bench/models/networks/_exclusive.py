"""A network's turn: one at a time in this process, with memory that stays until its turn is over.

Each step of a training takes and frees hundreds of megabytes. The C library hands what is freed back to the system,
which zeroes it page by page when the next step asks for it; `docs/performance.md` has what that costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import threading
from collections.abc import Iterator

import numpy as np

from fmnist_bench.models.networks._backend import as_keras_ships

# Of glibc's <malloc.h>: bytes free at the end of the heap before they are handed back, bytes asked for at a time beyond
# those needed, bytes from which a block is a mapping of its own, and the number of such mappings.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}
# Where glibc's own rules end in a process that has freed large blocks; they stop adapting once any of these is set.
GIVE_BACK = {MMAP_MAX: 2**16, TRIM_THRESHOLD: 2**26, TOP_PAD: 2**17, MMAP_THRESHOLD: 2**25}

_lock = threading.RLock()  # a network takes all cores, and seed and precision are those of the process
_depth = 0


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for a turn, and keep freed memory until it is over; a turn within a turn is part of it."""
    global _depth
    with _lock:
        if not _depth:
            _tell_allocator(KEEP)
        _depth += 1
        try:
            with as_keras_ships():
                yield
        finally:
            _depth -= 1
            if not _depth:
                _tell_allocator(GIVE_BACK, trim=True)


@contextlib.contextmanager
def chance_of_its_own() -> Iterator[None]:
    """Restore the random generators of the process afterwards, because Keras seeds them globally."""
    before = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _tell_allocator(options: dict[int, int], trim: bool = False) -> None:
    """Set options of the C library's allocator; where it is not glibc's, do nothing."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        for option, value in options.items():
            library.mallopt(option, value)
        if trim:
            library.malloc_trim(0)
