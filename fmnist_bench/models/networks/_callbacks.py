"""One training of a network, as what Keras calls back: the learning rate, the clock, the history."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils import early_end
from fmnist_bench.models.networks._batches import Batches, outputs_of
from fmnist_bench.models.networks._checkpoint import Checkpoint, Position

Monitor = Callable[[int, float], None]
STEPS_PER_EXECUTION = 10
PREDICT_BATCH = 512
SLACK = 1.1  # of what predicting was seen to take: the next time it may take somewhat longer
LATE = 1.5  # passes over the validation rows for which there must be time at the end, or mirror images are left out
MIRROR_SHARE = 0.15  # of the time for a training that mirror images may take when it is over


def steps_per_execution(steps: int) -> int:
    """Give the number of steps that a back end may do at a time so that `steps` are made; PyTorch does one.

    The most that divide them, or nearly so: an epoch would be a few steps longer or shorter otherwise.
    """
    if keras.backend.backend() == "torch":
        return 1
    most = min(STEPS_PER_EXECUTION, steps)
    return max(range((most + 1) // 2, most + 1), key=lambda n: (-abs(round(steps / n) * n - steps), n))


def one_cycle(progress: float, peak: float, warm_up: float) -> float:
    """Learning rate at a moment of training: a linear rise, then a cosine fall to zero.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.
    peak : float
        Largest learning rate, above 0.
    warm_up : float
        Share of the training that the rise takes, from 0 to below 1.

    Returns
    -------
    float
        Learning rate, 0 to `peak`.

    References
    ----------
    Smith and Topin, "Super-convergence" (2018); Loshchilov and Hutter, "SGDR" (2017).
    """
    if progress < warm_up:
        return peak * (0.05 + 0.95 * progress / warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def not_finite(loss: float, epoch: int, last: float | None) -> str:
    """Say that a loss is no longer finite, when, and what it was before."""
    before = "none was finite" if last is None else f"last finite loss {last:.4g}"
    return f"the loss became {loss} in epoch {epoch}, {before}"


def predict_probabilities(network: keras.Model, images: NDArray[Any], flip_average: bool) -> NDArray[np.float32]:
    """Class probabilities of a network that gives logits, perhaps averaged with those of the mirrored images."""
    result = softmax(outputs_of(network, images, PREDICT_BATCH))
    if flip_average:
        result = (result + softmax(outputs_of(network, images[:, :, ::-1], PREDICT_BATCH))) / 2
    return result.astype(np.float32)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities of logits, row by row."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return result


class Settings(Protocol):
    """What a training goes by, of an estimator's parameters."""

    epochs: int
    learning_rate: float
    warm_up: float
    patience: int | None
    flip_average: bool


class TrainingCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Follows one training: sets the learning rate, watches loss and clock, keeps the history.

    Attributes
    ----------
    history : dict of str to list of float
    schedule_share : float
        Share of the steps that the deadline left time for, above 0 to 1.
    flip_average : bool
        Whether there is time left for mirror images.
    """

    def __init__(
        self,
        settings: Settings,
        network: keras.Model,
        started: float,
        deadline: float | None,
        batches: Batches,
        valid: tuple[Any, Any] | None,
        monitor: Monitor | None,
        n_predicted: int = 0,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint if settings.patience is None else None  # what early stopping knows is not in it
        self.done = 0.0  # share of the schedule that was over when this process began
        self.started, self.seconds_before = started, 0.0
        self.network = network  # whose prediction is traced once, here, and not again after the training
        self.settings, self.valid, self.monitor, self.n_predicted = settings, valid, monitor, n_predicted
        self.steps_per_execution = steps_per_execution(batches.batches_per_pass)
        executions = round(batches.batches_per_pass / self.steps_per_execution)
        self.steps_per_epoch = executions * self.steps_per_execution
        self.steps = 0
        self.last_loss: float | None = None
        self.deadline = math.inf if deadline is None else deadline
        self.traced: float | None = None
        self.seconds_per_execution = 0.0
        self.seconds_per_row = 0.0  # of prediction without mirror images
        self.history: dict[str, list[float]] = {name: [] for name in self._names()}
        self.schedule_share, self.flip_average = 1.0, True
        self.is_over = False  # by the schedule or the clock, and not by early stopping

    def _names(self) -> list[str]:
        return ["step", "fit_loss", "fit_accuracy", *(["valid_loss", "valid_accuracy"] if self.valid else [])]

    def early_stopping(self) -> list[keras.callbacks.Callback]:
        """Give what ends the training early, where that is wanted; it comes after this one, which scores."""
        if self.settings.patience is None or self.valid is None:
            return []
        keep = {"restore_best_weights": True, "mode": "min"}
        return [keras.callbacks.EarlyStopping("valid_loss", patience=self.settings.patience, **keep)]

    def resume(self, optimizer: keras.optimizers.Optimizer) -> int:
        """Go on from where a checkpoint was left; return the number of the epoch that comes next."""
        position = None if self.checkpoint is None else self.checkpoint.attach(self.network, optimizer)
        if position is not None:
            self.steps, self.done = position.steps, position.progress
            self.seconds_before = position.seconds
            self.history.update(position.history)
        return len(self.history["step"])

    def progress(self) -> float:
        """Share of the training that is done, by steps or by the clock, whichever is ahead."""
        by_steps = self.steps / (self.steps_per_epoch * self.settings.epochs)
        deadline = min(self.deadline, early_end.moment())
        if self.traced is None or math.isinf(deadline):
            return max(by_steps, self.done)
        end = deadline - self.seconds_per_execution - self._seconds_after_training()
        by_clock = (time.monotonic() - self.traced) / max(end - self.traced, 1e-9)
        return min(1.0, max(by_steps, self.done + (1 - self.done) * by_clock))

    def _seconds_after_training(self) -> float:
        """Seconds kept aside: to score the last epoch, and to predict all validation rows when `fit` has returned."""
        if self.valid is None:
            return 0.0
        passes = 2 if self.settings.flip_average and self._can_afford_mirror_images() else 1
        return SLACK * self.seconds_per_row * (len(self.valid[0]) + passes * self.n_predicted)

    def _can_afford_mirror_images(self) -> bool:
        """Whether a second pass over the validation rows takes a small part of the time, or training needs it."""
        return self.seconds_per_row * self.n_predicted <= MIRROR_SHARE * (self.deadline - self.began)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.began = time.monotonic()
        if self.checkpoint is not None:
            self.checkpoint.restore()
        if self.valid is None or math.isinf(self.deadline):
            return
        images = self.valid[0][: PREDICT_BATCH + len(self.valid[0]) % PREDICT_BATCH]  # batches of either size
        self._probabilities(images)  # traces the graph: only the second call tells what scoring costs
        started = time.monotonic()
        self._probabilities(images)
        self.seconds_per_row = (time.monotonic() - started) / len(images)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.execution_started = time.monotonic()
        rate = one_cycle(self.progress(), self.settings.learning_rate, self.settings.warm_up)
        self.model.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps += self.steps_per_execution
        self._check_loss(float((logs or {})["loss"]))
        now = time.monotonic()
        if self.traced is None:  # the first execution traces the graph: its time says nothing about the next
            self.traced = now
        else:
            self.seconds_per_execution = now - self.execution_started
        if self.steps % self.steps_per_epoch:  # the end of an epoch is saved with its score
            self._save_if_due()
        self._stop_in_time()

    def _save_if_due(self) -> None:
        if self.checkpoint is not None and self.checkpoint.is_due():
            self._save(self.checkpoint, self.progress())

    def _save(self, checkpoint: Checkpoint, progress: float) -> None:
        if hasattr(self.model, "jax_state_sync"):  # JAX keeps the variables elsewhere while it trains
            self.model.jax_state_sync()
        seconds = self.seconds_before + time.monotonic() - self.started
        checkpoint.save(Position(self.steps, progress, self.history, seconds))

    def _stop_in_time(self) -> None:
        if self.progress() >= 1:
            self.model.stop_training = self.is_over = True

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            epoch = len(self.history["step"]) + 1
            rate = self.settings.learning_rate
            raise ValueError(f"{not_finite(loss, epoch, self.last_loss)}: lower learning_rate={rate:g}")
        self.last_loss = loss

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        planned = self.steps_per_epoch * self.settings.epochs
        self.schedule_share = min(1.0, self.steps / planned) if self.is_over else 1.0
        still_left = (self.deadline - time.monotonic()) / LATE >= self.seconds_per_row * self.n_predicted
        self.flip_average = still_left and self._can_afford_mirror_images()
        if self.checkpoint is not None:  # whatever is done with the network now, it need not be trained again
            self._save(self.checkpoint, progress=1.0)
        if self.steps == self.steps_per_execution < planned:
            warnings.warn(f"the deadline was over when the training began: it made {self.steps} steps", stacklevel=2)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        entry = {"step": epoch + 1, "fit_loss": float(logs["loss"]), "fit_accuracy": float(logs["accuracy"])}
        if self.valid is not None:
            entry |= self._score(*self.valid)
        for name, value in entry.items():
            self.history[name].append(value)
        self._save_if_due()
        logs |= entry  # what comes after this one, such as early stopping, gets the same
        if self.monitor is not None and self.valid is not None:
            self.monitor(epoch + 1, entry["valid_accuracy"])
        self._stop_in_time()

    def _score(self, images: NDArray[Any], codes: NDArray[np.int64]) -> dict[str, float]:
        started = time.monotonic()
        probabilities = self._probabilities(images)
        self.seconds_per_row = (time.monotonic() - started) / len(images)
        likelihood = probabilities[np.arange(len(codes)), codes]
        return {
            "valid_loss": float(-np.log(np.maximum(likelihood, 1e-15)).mean()),
            "valid_accuracy": float((probabilities.argmax(axis=1) == codes).mean()),
        }

    def _probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities without mirror images, which would double what scoring costs after each epoch."""
        return predict_probabilities(self.network, images, flip_average=False)
