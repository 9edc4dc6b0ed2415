"""One training of a network, handed to Keras."""

from __future__ import annotations

from typing import Any

import keras

from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.models.networks._backend import compiles
from fmnist_bench.models.networks._batches import Batches
from fmnist_bench.models.networks._callbacks import TrainingCallback
from fmnist_bench.models.networks._targets import loss_and_accuracy


def train_network(
    estimator: Any, batches: Batches, callback: TrainingCallback, soft: SoftTargets | None = None
) -> None:
    """Train the network of a `KerasClassifier`, from a checkpoint where the callback has one.

    A second model around the same layers keeps the optimizer's state out of what is saved.
    """
    learner = callback.network
    trainer = keras.Model(learner.inputs, learner.outputs)
    optimizer = estimator._optimizer()
    if estimator.weight_decay:
        optimizer.exclude_from_weight_decay(estimator._undecayed(), ["bias", "gamma", "beta"])
    epoch = callback.resume(optimizer)
    batches.first = callback.steps
    loss, accuracy = loss_and_accuracy(estimator.label_smoothing, soft)
    trainer.compile(
        optimizer,
        loss,
        metrics=[accuracy],
        steps_per_execution=callback.steps_per_execution,
        jit_compile=compiles(),
    )
    trainer.fit(
        batches.stream(),
        steps_per_epoch=callback.steps_per_epoch,
        initial_epoch=epoch,
        epochs=estimator.epochs,
        callbacks=[callback, *callback.early_stopping()],
        shuffle=False,
        verbose=0,
    )
