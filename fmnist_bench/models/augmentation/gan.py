"""A class-conditional GAN as a sampler: rows that look like those it has learnt from."""

from __future__ import annotations

import fmnist_bench.models.networks  # noqa: F401  first: it lets TensorFlow's greetings go nowhere

# isort: split
import math
import os
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fmnist_bench._utils.cache import source_digest
from fmnist_bench._utils.digests import digest_of
from fmnist_bench._utils.files import replacing
from fmnist_bench.data.pixels import UNIT, as_rows, image_shape_of, shape_of_images, white_of
from fmnist_bench.models.augmentation._batch import Augment
from fmnist_bench.models.augmentation._gan_files import keep_network, load_network, locked, read_generator
from fmnist_bench.models.augmentation._gan_networks import Adversaries, build_discriminator, build_generator
from fmnist_bench.models.augmentation._gan_training import STEPS_AN_EPOCH, Judge, Monitor, Watch
from fmnist_bench.models.networks._backend import (
    PRECISIONS,
    fits,
    one_memory_error,
    prepare_backend,
)
from fmnist_bench.models.networks._batches import Batches, outputs_of
from fmnist_bench.models.networks._callbacks import steps_per_execution
from fmnist_bench.models.networks._exclusive import chance_of_its_own, one_at_a_time
from fmnist_bench.models.networks._parameters import check_least
from fmnist_bench.models.networks._saved import NetworkAsBytes, to_bytes

TRAINED_ON = ("tensorflow", "torch")  # back ends; JAX would need a training step of its own
SAMPLE_BATCH = 1000
NORMALISED = 5000  # synthetic rows over which the statistics of the averaged generator are taken
SCARCE = 20_000  # rows; with fewer the discriminator sees images moved at random, and the classes weigh less


class ConditionalGAN(NetworkAsBytes, BaseEstimator):  # type: ignore[misc]
    """Samples synthetic rows of pixels of the classes that it has learnt from real ones.

    Spectral normalisation, hinge loss, projected classes with an auxiliary classifier, and a moving average of the
    generator; where rows are scarce, differentiable augmentation.

    Parameters
    ----------
    ratio : float
        Synthetic rows that `fit_resample` appends for each real one, 0 or more.
    balance : bool
        Append equally many of each class instead of as many as there are in proportion.
    steps : int
        Batches that both networks are trained on, at least 1.
    latent : int
        Width of the noise.
    width : int
        Filters of the layers at full resolution; each further layer has twice as many.
    learning_rate : float
        Of Adam.
    class_weight : float or None
        Of the auxiliary classifier's verdict in the generator's loss, 0 or more: the higher, the more images are of the
        class asked for, and the more alike. None means 1, and 0.3 with fewer than 20,000 rows.
    batch_size : int
        Rows a step; fewer when there are fewer rows, and half of it, with a warning, where a batch does not fit in
        memory.
    precision : {"auto", "float32"}
        "auto" computes in bfloat16 in TensorFlow where the CPU has instructions for it.
    cache_dir : str or None
        Folder in which trained generators are kept, by the content of the rows and the parameters above but the first
        two, for every later fit.
    generator : str or None
        File that `save` has written: its generator is taken instead of training one.
    image_shape : tuple of int or None
        `(height, width)` or `(height, width, channels)`; None means that of the images, and of rows square and gray.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    network_ : keras.Model
        The generator, from noise and class numbers to images from -1 to 1.
    history_ : dict of list
        `step`, `discriminator_loss`, `generator_loss`, `fidelity`, every 100 steps; empty where nothing was trained.
        Fidelity is the share of synthetic images that a plain classifier, fitted on real rows, takes for the class
        asked for.

    References
    ----------
    Goodfellow et al., "Generative Adversarial Nets" (2014); Mirza and Osindero, "Conditional Generative Adversarial
    Nets" (2014); Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs" (2017); Miyato and Koyama,
    "cGANs with Projection Discriminator" (2018); Zhao et al., "Differentiable
    Augmentation for Data-Efficient GAN Training" (2020).
    """

    takes_deadline = True

    def __init__(
        self,
        *,
        ratio: float = 1.0,
        balance: bool = False,
        steps: int = 6000,
        latent: int = 64,
        width: int = 32,
        learning_rate: float = 4e-4,
        class_weight: float | None = None,
        batch_size: int = 64,
        precision: str = "auto",
        cache_dir: str | None = None,
        generator: str | None = None,
        image_shape: tuple[int, ...] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.ratio = ratio
        self.balance = balance
        self.steps = steps
        self.latent = latent
        self.width = width
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        self.batch_size = batch_size
        self.precision = precision
        self.cache_dir = cache_dir
        self.generator = generator
        self.image_shape = image_shape
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, monitor: Monitor | None = None, deadline: float | None = None) -> Self:
        """Train both networks, or find the generator.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images
            Pixels, 0 to 255.
        y : array-like of shape (n,)
            Labels, two classes or more.
        monitor : callable or None
            Called as ``monitor(step, fidelity)`` every 100 steps, when `sample` draws from the generator as it is then;
            may raise to stop.
        deadline : float or None
            By ``time.monotonic()``: the training then ends with fewer steps, and is not kept in `cache_dir`.

        Raises
        ------
        ValueError
            Unusable rows, labels or parameters; pixels from 0 to 1.
        FailedGAN
            A loss that is no longer finite, images of the wrong class, or all alike.
        """
        self._deadline = math.inf if deadline is None else deadline
        self._check_parameters()
        rows, labels = validate_data(self, as_rows(X), y, dtype="numeric")
        if white_of(rows) == UNIT:
            raise ValueError("pixels from 0 to 1: the images that a GAN draws have pixels from 0 to 255")
        self.classes_, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise ValueError("y has one class only: a conditional GAN needs at least 2")
        self._shares, self._shape = (
            counts / len(codes),
            shape_of_images(rows.shape[1], self.image_shape or image_shape_of(X)),
        )
        self.history_: dict[str, list[float]] = {}
        if self.generator is not None:
            self.network_ = read_generator(self.generator, len(self.classes_), self._shape, self.latent)
        elif self.cache_dir is None:
            self.network_ = self._trained(rows, codes, None, monitor)
        else:
            self._find_or_train(rows, codes, Path(self.cache_dir), monitor)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the generator to a file, whole or not at all, for the parameter `generator`."""
        check_is_fitted(self, "network_")
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(to_bytes(self.network_))

    def sample(
        self, n: int, y: ArrayLike | None = None, random_state: Any = None
    ) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Draw synthetic rows.

        Parameters
        ----------
        n : int
            Number of rows.
        y : array-like of shape (n,) or None
            Label of each; None draws them as often as there were rows of each.
        random_state : int, RandomState or None

        Returns
        -------
        X : ndarray of shape (n, n_features), uint8
        y : ndarray of shape (n,)
        """
        check_is_fitted(self, "network_")
        generator = check_random_state(random_state)
        drawn = generator.choice(len(self.classes_), n, p=self._shares) if y is None else None
        codes = self._codes(np.asarray(y)) if drawn is None else drawn
        noise = generator.normal(size=(n, self.latent)).astype(np.float32)
        with one_at_a_time(), one_memory_error():
            prepare_backend(self.precision)
            images = outputs_of(self.network_, [noise, codes.astype(np.int32)], SAMPLE_BATCH)
        pixels = np.clip(np.rint((images.reshape(n, -1) + 1) * 127.5), 0, 255).astype(np.uint8)
        return pixels, self.classes_[codes]

    def fit_resample(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Append `ratio` synthetic rows for each real one; with ratio 0 nothing is trained and nothing changes."""
        self._check_parameters()
        rows, labels = np.asarray(as_rows(X)), np.asarray(y)
        n = round(self.ratio * len(rows))
        if n == 0:
            return rows, labels
        self.fit(X, labels)
        shares = np.full(len(self.classes_), 1 / len(self.classes_)) if self.balance else self._shares
        wanted = self.classes_[np.repeat(np.arange(len(shares)), _apportion(n, shares))]
        synthetic, names = self.sample(n, wanted, random_state=self.random_state)
        return np.concatenate([rows, synthetic.astype(rows.dtype)]), np.concatenate([labels, names])

    def _check_parameters(self) -> None:
        check_least(self, ratio=0, steps=1, latent=1, width=1, batch_size=1)
        if self.class_weight is not None:
            check_least(self, class_weight=0)
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: must be one of {', '.join(PRECISIONS)}")

    def _codes(self, y: NDArray[Any]) -> NDArray[np.int64]:
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if (unknown := self.classes_[codes] != y).any():
            raise ValueError(f"y holds {y[unknown][0]}: must be one of {', '.join(map(str, self.classes_))}")
        return np.asarray(codes)

    def _find_or_train(
        self, rows: NDArray[Any], codes: NDArray[np.int64], folder: Path, monitor: Monitor | None
    ) -> None:
        """Use the generator that is kept for these rows; others who want it meanwhile wait for it."""
        digest = self._digest(rows, codes)
        path = folder / f"gan-{digest}.keras"
        with locked(folder / f"gan-{digest}.lock"):
            found = load_network(path, digest)
            if found is None:
                checkpoint = folder / f"gan-{digest}.npz"
                found = self._trained(rows, codes, checkpoint, monitor)
                found.name = f"gan_{digest}"
                if self._is_whole:
                    keep_network(path, found)
                    checkpoint.unlink(missing_ok=True)
            self.network_ = found

    @property
    def _is_whole(self) -> bool:
        return self.history_.get("step", [math.inf])[-1] >= self._epochs * self._steps_an_epoch

    @property
    def _steps_an_epoch(self) -> int:
        return min(STEPS_AN_EPOCH, self.steps)

    @property
    def _epochs(self) -> int:
        return max(1, self.steps // self._steps_an_epoch)

    def _digest(self, rows: NDArray[Any], codes: NDArray[np.int64]) -> str:
        free = ("ratio", "balance", "cache_dir", "generator")
        settings = sorted((name, value) for name, value in self.get_params().items() if name not in free)
        made_by = f"{keras.__version__} {keras.backend.backend()} {source_digest(Adversaries)}"
        return digest_of(f"{settings} {made_by} {rows.dtype} {rows.shape}", rows, codes)[:32]

    @one_at_a_time()
    def _trained(
        self, rows: NDArray[Any], codes: NDArray[np.int64], checkpoint: Path | None, monitor: Monitor | None
    ) -> keras.Model:
        if (backend := keras.backend.backend()) not in TRAINED_ON:
            other = f"KERAS_BACKEND={backend} trains no GAN: must be {' or '.join(TRAINED_ON)}"
            raise ValueError(f"{other}, or generator= the file of one that was trained there")
        prepare_backend(self.precision)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))

        def train(batch_size: int) -> None:
            self.network_ = self._train(rows, codes, checkpoint, monitor, batch_size, seed)

        with chance_of_its_own():
            if not fits(train, self.batch_size):
                train(self.batch_size // 2)
        return self.network_

    def _train(
        self,
        rows: NDArray[Any],
        codes: NDArray[np.int64],
        checkpoint: Path | None,
        monitor: Monitor | None,
        batch_size: int,
        seed: int,
    ) -> keras.Model:
        keras.utils.set_random_seed(seed)
        self.history_ = {}
        generator = self.network_ = build_generator(self._shape, len(self.classes_), self.latent, self.width)
        scarce = len(rows) < SCARCE
        discriminator = build_discriminator(self._shape, len(self.classes_), self.width, scarce)
        weight = (0.3 if scarce else 1.0) if self.class_weight is None else self.class_weight
        adversaries = Adversaries(generator, discriminator, self.latent, self.learning_rate, weight, self.steps, seed)
        images = rows.reshape(-1, *self._shape)
        batches = Batches(images, codes.astype(np.int32), batch_size, Augment(), seed)
        judge = Judge(rows, codes)
        how = checkpoint, self._deadline, monitor
        watch = Watch(self.history_, lambda: judge.fidelity(*self._drawn(judge.rows)), *how)
        done = watch.resume(adversaries)
        steps = self._steps_an_epoch
        adversaries.compile(steps_per_execution=steps_per_execution(steps), jit_compile=False)
        with one_memory_error():
            adversaries.fit(
                batches.stream(),
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=self._epochs,
                callbacks=[watch],
                shuffle=False,
                verbose=0,
            )
        adversaries.finish(np.random.default_rng(seed).choice(codes, NORMALISED).astype(np.int32))
        generator.jit_compile = False
        judge.check(*self._drawn(judge.rows), self.classes_)
        return generator

    def _drawn(self, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        synthetic, labels = self.sample(n, random_state=0)
        return synthetic, self._codes(labels)


def _apportion(n: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Share out `n` by largest remainders."""
    exact = n * shares
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts
