"""What differs between Keras' back ends and machines: precision, devices, running out of memory."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras

CPUINFO = Path("/proc/cpuinfo")
PRECISIONS = ("auto", "float32")  # of networks that set no dtype policy
BFLOAT16_ISAS = ("DEFAULT", "BF16", "FP16", "AMX")  # parts of the names that oneDNN gives to what has bfloat16
POLICIES = (*PRECISIONS, "mixed_bfloat16", "bfloat16")
OUT_OF_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError")
WORDS = ("can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED")  # where the error is a plain one

# Unless told before, JAX takes three quarters of a GPU's memory with its first operation, TensorFlow nearly all of it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@contextlib.contextmanager
def as_keras_ships() -> Iterator[None]:
    """Set the layout of images, the float type and the epsilon that networks here are written for.

    The user's ``~/.keras/keras.json`` may say otherwise, and what a network computes must not depend on a file there.
    """
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.epsilon()
    try:
        _set_keras("channels_last", "float32", 1e-7)
        yield
    finally:
        _set_keras(*before)


def _set_keras(image_data_format: str, floatx: str, epsilon: float) -> None:
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)


def prepare_backend(precision: str) -> None:
    """Let TensorFlow compute in bfloat16 on CPUs that multiply it, where `precision` is "auto"."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    rewrite = precision == "auto" and _cpu_has_bfloat16()
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": rewrite})


def check_precision(precision: str) -> None:
    """Refuse what is neither "auto" nor a dtype policy that networks learn in: float16 would need its loss scaled.

    Raises
    ------
    ValueError
    """
    if precision not in POLICIES:
        raise ValueError(f"precision={precision!r}: must be one of {', '.join(POLICIES)}")


def check_policy(precision: str) -> None:
    """Refuse what is neither "auto" nor a dtype policy of Keras.

    Raises
    ------
    ValueError
    """
    try:
        if precision != "auto":
            keras.dtype_policies.DTypePolicy(precision)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"precision={precision!r}: must be auto, or a dtype policy of Keras such as float32 or mixed_bfloat16"
        ) from error


def dtype_policy(precision: str) -> str:
    """Name the Keras dtype policy: what was asked for, or mixed on a GPU, or what the CPU is fastest in."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if _sees_gpu() else "float32"


@contextlib.contextmanager
def under_policy(policy: str | None) -> Iterator[None]:
    """Make layers of this dtype policy; None leaves the one that is set."""
    before = keras.config.dtype_policy()
    if policy is not None:
        keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compiles() -> bool:
    """Tell whether networks are compiled by XLA: JAX needs it, TensorFlow is slower with it on CPUs."""
    return bool(keras.backend.backend() == "jax")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a back end, or NumPy, could not get the memory for a batch."""
    known = isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY
    return known or any(words in str(error) for words in WORDS)


def fits(train: Callable[[int], None], batch_size: int) -> bool:
    """Train; return False if a batch does not fit in memory, so that the frames of the error free it."""
    try:
        train(batch_size)
    except Exception as error:
        if batch_size == 1 or not is_out_of_memory(error):
            raise
        warnings.warn(f"batch_size={batch_size} does not fit in memory, half of it is tried", stacklevel=4)
        return False
    return True


@contextlib.contextmanager
def one_memory_error() -> Iterator[None]:
    """Turn every back end's out-of-memory error into a MemoryError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or not is_out_of_memory(error):
            raise
        raise MemoryError((str(error).strip() or type(error).__name__).splitlines()[0][:200]) from error


def _sees_gpu() -> bool:
    if keras.backend.backend() == "torch":
        import torch

        return bool(torch.cuda.is_available())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.default_backend() == "gpu")
    return False


def _cpu_has_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16 and oneDNN may let it; elsewhere the rewriting costs time, or fails."""
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "DEFAULT")).upper()
    if not any(kind in allowed for kind in BFLOAT16_ISAS):
        return False
    try:
        flags = CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
