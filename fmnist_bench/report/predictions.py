"""What saved models of a run predict for rows: each in a worker, which stays as long as it may be asked again."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.environment import available_memory, cores, used_gpus
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.probabilities import read_probabilities
from fmnist_bench.ensemble.usable import Key
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.trials.predictor import Predictor

Probabilities = NDArray[np.float32]
Left = Callable[[], float | None]  # seconds that there are still, None without a limit
LEAST_PATIENCE, PATIENCE = 300.0, 20.0  # seconds, and times what a prediction should take, until it counts as hung
SPARE_MEMORY = 2 * 2**30  # bytes that must be free for another worker to wait


class Models:
    """Saved models of a run; a context manager, at whose end the workers that wait end.

    Parameters
    ----------
    run : Run
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.
    """

    def __init__(self, run: Run, allow_import: Sequence[str] = ()) -> None:
        self.run, self._allow_import = run, allow_import
        self._waiting: dict[Key, Predictor] = {}
        self._may_wait = not used_gpus()  # whose memory they would hold

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for predictor in self._waiting.values():
            predictor.close()

    def predict(
        self,
        keys: Iterable[Key],
        X: NDArray[Any],
        file: str,
        n_classes: int,
        keep: Collection[Key] = (),
        left: Left = lambda: None,
    ) -> tuple[dict[Key, Probabilities], dict[Key, str]]:
        """Let models predict rows, as many at a time as there are cores, or read what they predicted before.

        Parameters
        ----------
        keys : iterable of (str, int)
            Study and number of the trials, in the order in which they are asked.
        X : ndarray of shape (n, n_pixels)
        file : str
            What the file of the answers is called, in the folder of each trial; the same name means the same rows.
        n_classes : int
        keep : collection of (str, int)
            Those whose workers wait to be asked again, where memory allows it.
        left : callable
            A model that would take longer than this is not asked, and one that does is stopped.

        Returns
        -------
        predicted : dict of (str, int) to ndarray of shape (n, n_classes)
        faults : dict of (str, int) to str
            Why the others cannot.
        """

        def predict(key: Key) -> Probabilities | str:
            path = self.run.trial_folder(*key) / file
            if (known := read_probabilities(path, len(X), n_classes)) is not None:
                return known
            if (seconds := left()) is not None and seconds < self.seconds([key], len(X)):
                return "no time was left to predict the rows"
            try:
                self._ask(key, X, path, key in keep, math.inf if seconds is None else seconds)
            except InputError as error:
                return str(error)
            found = read_probabilities(path, len(X), n_classes)
            return "its prediction of the rows cannot be read" if found is None else found

        ordered = list(keys)
        with ThreadPoolExecutor(cores()) as threads:
            found = dict(zip(ordered, threads.map(predict, ordered), strict=True))
        predicted = {key: each for key, each in found.items() if not isinstance(each, str)}
        return predicted, {key: each for key, each in found.items() if isinstance(each, str)}

    def _ask(self, key: Key, X: NDArray[Any], path: Path, keep: bool, most: float) -> None:
        predictor = self._waiting.pop(key, None) or Predictor(self.run.model_file(*key), self._allow_import)
        try:
            predictor.predict(X, path, min(LEAST_PATIENCE + PATIENCE * self._predict_seconds(key, len(X)), most))
        except InputError:
            keep = False
            raise
        finally:
            if keep and self._may_wait and available_memory() > SPARE_MEMORY:
                self._waiting[key] = predictor
            else:
                predictor.close()

    def seconds(self, keys: Collection[Key], n: int) -> float:
        """Seconds that these models are likely to take for `n` rows, those included to start workers for them."""
        each = [self._start_seconds(key) + self._predict_seconds(key, n) for key in keys]
        return max(sum(each) / cores(), max(each, default=0.0))

    def _predict_seconds(self, key: Key, n: int) -> float:
        record = self.run.record(*key)
        return 0.0 if record is None else record.result.predict_seconds * n / len(self.run.y_valid())

    def _start_seconds(self, key: Key) -> float:
        record = self.run.record(*key)
        return 0.0 if record is None or key in self._waiting else record.fixed_seconds
