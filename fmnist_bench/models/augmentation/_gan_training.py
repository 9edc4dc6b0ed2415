"""What watches a GAN in training: losses, checkpoints, failure."""

from __future__ import annotations

import contextlib
import math
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fmnist_bench._utils.files import replacing
from fmnist_bench._utils.stage_progress import tell
from fmnist_bench.models.augmentation._gan_networks import Adversaries

Monitor = Callable[[int, float], None]
STEPS_AN_EPOCH = 100  # of the history
EPOCHS_A_CHECKPOINT = 10
JUDGED = 2000  # rows by which a GAN is judged
LEAST_FIDELITY = 0.6  # of a plain classifier's accuracy on real rows that it must reach on synthetic ones
LEAST_STEPS = 0.05  # of those that were planned, for which there must be time
LEAST_SPREAD = 0.15  # of the deviation of real pixels within a class that synthetic ones must reach


class FailedGAN(RuntimeError):
    """The GAN has not learnt, so its images would spoil what is trained with them."""


class TooLittleTime(FailedGAN):
    """The time that it may take is far too short for it to learn."""

    status = "timeout"  # what a trial that ends with it is called


class Judge:
    """A plain classifier fitted on real rows, and what it thinks of synthetic ones.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Pixels, 0 to 255.
    codes : ndarray of shape (n,)
        Numbers of their classes.
    """

    rows = JUDGED

    def __init__(self, rows: NDArray[Any], codes: NDArray[np.int64]) -> None:
        known = np.random.default_rng(0).permutation(len(rows))
        fit, held = known[: 2 * JUDGED], known[2 * JUDGED : 3 * JUDGED] if len(rows) > 3 * JUDGED else known
        self._classifier = LogisticRegression(C=0.01, max_iter=200).fit(rows[fit] / 255.0, codes[fit])
        self._real = self.fidelity(rows[held], codes[held])
        self._spreads = {code: rows[codes == code].std(axis=0).mean() for code in np.unique(codes)}

    def fidelity(self, rows: NDArray[Any], codes: NDArray[np.int64]) -> float:
        """Share of the rows that it takes for their class."""
        return float(self._classifier.score(rows / 255.0, codes))

    def check(self, rows: NDArray[Any], codes: NDArray[np.int64], names: NDArray[Any]) -> None:
        """Refuse images that it takes for another class, or that are all alike."""
        if (fidelity := self.fidelity(rows, codes)) < LEAST_FIDELITY * self._real:
            raise FailedGAN(
                f"a plain classifier finds {fidelity:.0%} of its images right, and {self._real:.0%} of real ones"
            )
        for code, spread in self._spreads.items():
            drawn = rows[codes == code]
            if len(drawn) > 1 and drawn.std(axis=0).mean() < LEAST_SPREAD * spread:
                raise FailedGAN(f"its images of class {names[code]} are all alike (mode collapse)")


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the losses, stops at one that is not finite or at the deadline, and writes checkpoints.

    Parameters
    ----------
    history : dict
        Where the losses go.
    fidelity : callable
        Judges the generator as it is.
    checkpoint : Path or None
        File of all variables of both networks and their optimizers.
    deadline : float
        By ``time.monotonic()``, infinite for none.
    monitor : callable or None
        Called with the number of steps and the fidelity.
    """

    def __init__(
        self,
        history: dict[str, list[float]],
        fidelity: Callable[[], float],
        checkpoint: Path | None,
        deadline: float,
        monitor: Monitor | None,
    ) -> None:
        super().__init__()
        self.history, self.fidelity, self.checkpoint = history, fidelity, checkpoint
        self.deadline, self.monitor, self.has_traced = deadline, monitor, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the clock."""
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take note; keep everything every tenth time."""
        losses = {name: float(value) for name, value in (logs or {}).items()}
        if not all(map(math.isfinite, losses.values())):
            raise FailedGAN(self._not_finite(losses, (epoch + 1) * self.params["steps"]))
        entry = {"step": float((epoch + 1) * self.params["steps"]), **losses, "fidelity": self.fidelity()}
        for name, value in entry.items():
            self.history.setdefault(name, []).append(value)
        tell("GAN", (epoch + 1) / self.params["epochs"])
        now = time.monotonic()
        if late := now + (now - self.began) > self.deadline:
            self.model.stop_training = True
        if self.checkpoint is not None and (late or (epoch + 1) % EPOCHS_A_CHECKPOINT == 0):
            self._keep(epoch + 1)
        self._check_time(epoch + 1, now)
        if self.monitor is not None:
            self.monitor(int(entry["step"]), entry["fidelity"])

    def _not_finite(self, losses: dict[str, float], steps: int) -> str:
        last = {name: values[-1] for name, values in self.history.items() if name in losses}
        before = f"the last finite ones were {last}" if last else "none were finite"
        return f"the losses became {losses} within {steps} steps, {before}"

    def _check_time(self, done: int, now: float) -> None:
        """Give up early if the deadline leaves too few steps for good images."""
        left = 0.0 if self.model.stop_training else (self.deadline - now) / (now - self.began)
        planned, steps = self.params["epochs"], self.params["steps"]
        if (self.has_traced or self.model.stop_training) and done + left < LEAST_STEPS * planned:
            raise TooLittleTime(f"there is time for {(done + int(left)) * steps:,} of {planned * steps:,} steps only")
        self.has_traced = True  # the first epoch takes longer

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
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or one that was cut off
            return 0
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return done

    def _keep(self, epochs: int) -> None:
        assert self.checkpoint is not None
        values = {str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(self.variables)}
        with contextlib.suppress(OSError), replacing(self.checkpoint) as temporary:
            np.savez(temporary, epochs=epochs, **values)  # a full disk costs the checkpoint, not the training
