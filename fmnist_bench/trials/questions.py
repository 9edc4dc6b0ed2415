"""What a worker process is asked beside trials: to check studies, to predict with a saved model, to draw images."""

import contextlib
import os
from collections.abc import Callable
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.errors import InputError, describe, printable
from fmnist_bench._utils.files import replacing
from fmnist_bench._utils.probabilities import save_probabilities
from fmnist_bench.config.checking import check_student, check_study, compresses_schedule
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import Split
from fmnist_bench.models.saved import load_named
from fmnist_bench.pipeline import tell_image_shape
from fmnist_bench.storage.trial_folder import Rows
from fmnist_bench.trials.model_check import fault_of_model


def check(
    argument: tuple[tuple[Study, ...], tuple[str, ...], tuple[Study, ...]],
    connection: Connection,
) -> None:
    """Build every study; send the names of the spaces whose models compress their schedules, or what is wrong."""
    studies, allow_import, students = argument

    def build_all() -> set[str]:
        for study in (*studies, *students):
            check_study(study, allow_import)
        for student in students:
            check_student(student, allow_import)
        return {study.space.name for study in studies if compresses_schedule(study, allow_import)}

    answer_over(connection, build_all)


def predict(argument: tuple[Path, tuple[str, ...]], connection: Connection) -> None:
    """Let a saved model predict rows into files, as often as it is asked; send what is wrong, or nothing.

    `save_probabilities` writes them.
    """
    model, allow_import = argument
    loaded = cache(lambda: load_named(model, "the saved model", allow_import))

    def write(rows: NDArray[Any], target: Path) -> str:
        save_probabilities(target, loaded().predict_proba(rows))
        return ""

    with contextlib.suppress(EOFError):  # nobody asks any more
        while True:
            answer_over(connection, partial(write, *connection.recv()))


def draw(argument: tuple[Study, Path, Rows, Split, int, tuple[str, ...], Path], connection: Connection) -> None:
    """Let a trained augmentation draw as many rows of each class as there are to train; send what is wrong."""
    study, generator, rows, split, seed, allow_import, target = argument

    def write() -> str:
        X, y = rows.load()
        sampler = study.learner(allow_import, {"random_state": seed, "generator": str(generator)})
        tell_image_shape(sampler, rows.image_shape)
        sampler.fit(X[split.train], y[split.train])
        drawn, _ = sampler.sample(len(split.train), y[split.train], random_state=seed)
        with replacing(target) as temporary, temporary.open("wb") as file:
            np.save(file, drawn, allow_pickle=False)
        return ""

    answer_over(connection, write)


def check_model(
    argument: tuple[Path, NDArray[Any], NDArray[np.float32], tuple[str, ...]],
    connection: Connection,
) -> None:
    """Send the `fault_of_model`."""
    answer_over(connection, lambda: printable(fault_of_model(*argument)))


def answer_over(connection: Connection, compute: Callable[[], Any]) -> None:
    """Send what `compute` returns, or in one line what is wrong."""
    os.setpgrp()
    try:
        answer = compute()
    except InputError as error:
        answer = printable(error)
    except Exception as error:
        answer = describe(error)
    connection.send(answer)
