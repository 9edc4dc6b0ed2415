"""Trained generators as files that several processes share."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import keras

from fmnist_bench._utils.files import replacing
from fmnist_bench._utils.stage_progress import tell
from fmnist_bench.models.networks._saved import from_bytes, to_bytes

LOCK_POLL = 0.5  # seconds


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others out, where the system can; whoever waits says so, and does not count as hung."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        with contextlib.suppress(ImportError, OSError):
            while not _try_to_lock(file):
                tell("GAN of another", 0.0)
                time.sleep(LOCK_POLL)
        yield


def _try_to_lock(file: IO[str]) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def load_network(path: Path, digest: str) -> keras.Model | None:
    """Load a generator; None where there is none, or one that is damaged or of other data, which is said."""
    if not path.exists():
        return None
    try:
        network = from_bytes(path.read_bytes())
    except Exception as error:
        warnings.warn(f"{path.name} cannot be read and is made again: {error}", stacklevel=3)
        return None
    if network.name != f"gan_{digest}":
        warnings.warn(f"{path.name} belongs to other data and is made again", stacklevel=3)
        return None
    return network


def read_generator(file: str | os.PathLike[str], classes: int, shape: tuple[int, ...], latent: int) -> keras.Model:
    """Load the generator that somebody names; refuse one of other classes, images or noise.

    Raises
    ------
    ValueError
    """
    what = f"generator={str(file)!r}"
    try:
        network = from_bytes(Path(file).read_bytes())
        made = network.get_layer("classes").input_dim, network.output_shape[1:]
        taken = network.input_shape[0][1]
    except Exception as error:
        raise ValueError(f"{what}: not a readable generator: {error}") from error
    if made != (classes, shape):
        raise ValueError(f"{what} makes {made[0]} classes of images {made[1]}, not these")
    if taken != latent:
        raise ValueError(f"{what} takes latent={taken}, found latent={latent}")
    return network


def keep_network(path: Path, network: keras.Model) -> None:
    """Write a generator, whole or not at all; a full disk costs the file, not the training."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(to_bytes(network))
    except OSError as error:
        warnings.warn(f"{path.name} was not kept: {error}", stacklevel=3)
