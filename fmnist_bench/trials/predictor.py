"""Saved models that predict rows, each in a worker process that lasts as long as it may be asked again."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fmnist_bench._utils.errors import InputError
from fmnist_bench.trials.process import WorkerError, answer_from, worker
from fmnist_bench.trials.questions import predict


class Predictor:
    """A saved model in a worker process, which starts when it is asked first and ends with `close`.

    Parameters
    ----------
    model : Path
    allow_import : sequence of str
        Prefixes of further types that it may be made of.
    """

    def __init__(self, model: Path, allow_import: Sequence[str] = ()) -> None:
        self._argument = model, tuple(allow_import)
        self._stack = contextlib.ExitStack()
        self._worker: tuple[Any, Any] | None = None

    def predict(self, X: NDArray[Any], target: Path, seconds: float | None = None) -> None:
        """Let `save_probabilities` write those for the rows `X` to the file `target`, in at most `seconds`.

        Raises
        ------
        InputError
            Where the model cannot be loaded, or cannot predict these rows.
        """
        if message := self._ask((X, target), seconds):
            raise InputError(message)

    def _ask(self, question: Any, seconds: float | None) -> str:
        try:
            if self._worker is None:
                self._worker = self._stack.enter_context(worker(predict, self._argument))
            process, connection = self._worker
            with contextlib.suppress(ConnectionError):  # it has died: so says the answer
                connection.send(question)
            return str(answer_from(process, connection, seconds))
        except WorkerError as error:
            return str(error)

    def close(self) -> None:
        """End the process."""
        self._worker = None
        self._stack.close()


def predict_in_worker(
    model: Path, X: NDArray[Any], target: Path, allow_import: Sequence[str] = (), seconds: float | None = None
) -> None:
    """Let a saved model predict rows once; see `Predictor.predict`."""
    with contextlib.closing(Predictor(model, allow_import)) as predictor:
        predictor.predict(X, target, seconds)
