"""What watches a GAN in training: losses, checkpoints, failure."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ._gan import Adversaries

STEPS_AN_EPOCH = 100  # of the history
EPOCHS_A_CHECKPOINT = 10


class FailedGAN(RuntimeError):
    """The GAN has not learnt, so its images would spoil what is trained with them."""


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the losses, stops at one that is not finite, and writes checkpoints.

    Parameters
    ----------
    history : dict
        Where the losses go.
    checkpoint : Path or None
        File of all variables of both networks and their optimizers.
    """

    def __init__(self, history: dict[str, list[float]], checkpoint: Path | None) -> None:
        super().__init__()
        self.history, self.checkpoint = history, checkpoint

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take note; keep everything every tenth time."""
        losses = {name: float(value) for name, value in (logs or {}).items()}
        if not all(map(math.isfinite, losses.values())):
            raise FailedGAN(f"the losses became {losses} after {(epoch + 1) * STEPS_AN_EPOCH} steps")
        for name, value in {"step": float((epoch + 1) * STEPS_AN_EPOCH), **losses}.items():
            self.history.setdefault(name, []).append(value)
        if self.checkpoint is not None and (epoch + 1) % EPOCHS_A_CHECKPOINT == 0:
            self._keep(epoch + 1)

    def resume(self, adversaries: Adversaries) -> int:
        """Put back what the last checkpoint holds; return the epochs that are done."""
        self.variables = [
            *adversaries.variables,
            *adversaries.generator_optimizer.variables,
            *adversaries.discriminator_optimizer.variables,
        ]
        try:
            with np.load(self.checkpoint or "", allow_pickle=False) as kept:
                values = [kept[str(number)] for number in range(len(self.variables))]
                done = int(kept["epochs"])
        except (OSError, ValueError, KeyError):  # none, or one that was cut off
            return 0
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return done

    def forget(self) -> None:
        """Delete the checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def _keep(self, epochs: int) -> None:
        assert self.checkpoint is not None
        temporary = self.checkpoint.with_suffix(".tmp.npz")
        values = {str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(self.variables)}
        with contextlib.suppress(OSError):  # a full disk costs the checkpoint, not the training
            np.savez(temporary, epochs=epochs, **values)
            os.replace(temporary, self.checkpoint)
