"""What networks share: a turn each, and memory that stays for its length."""

import contextlib
import platform
import resource
import threading
import time

import psutil
import pytest

from fmnist_bench.augment import ConditionalGAN
from fmnist_bench.models._gan_watch import FailedGAN
from fmnist_bench.models._turn import one_at_a_time
from fmnist_bench.models.cnn import CNNClassifier

BLOCK = 2**24  # bytes
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc alone is told")


def faults_of_a_step() -> int:
    """Take, fill and free a few large blocks, as a step of a training does; say how many pages had to be got."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"1" * BLOCK for _ in range(6)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_freed_memory_stays_until_the_turn_is_over():
    with one_at_a_time():
        faults_of_a_step()
        kept = psutil.Process().memory_info().rss
        assert sum(faults_of_a_step() for _ in range(5)) < 500  # of 6 * 4096 pages each
    given_back = kept - psutil.Process().memory_info().rss
    assert given_back > 5 * BLOCK


@glibc
def test_a_turn_within_a_turn_is_part_of_it():
    with one_at_a_time():
        with one_at_a_time():
            faults_of_a_step()
        assert sum(faults_of_a_step() for _ in range(5)) < 500


def test_a_turn_ends_with_an_error_too():
    with pytest.raises(ValueError, match="here"), one_at_a_time():
        raise ValueError("here")
    assert in_turn()


def test_others_wait_for_their_turn():
    with one_at_a_time():
        assert not in_turn()
    assert in_turn()


@pytest.mark.parametrize(
    "model", [CNNClassifier(filters=4, epochs=1), ConditionalGAN(steps=10, latent=4, width=4, batch_size=20)], ids=repr
)
def test_whoever_trains_a_network_has_a_turn(digits, model):
    seen: list[bool] = []
    X, y = digits.X[:200], digits.y[:200]
    kept = {} if isinstance(model, ConditionalGAN) else {"validation_data": (X, y)}
    with contextlib.suppress(FailedGAN):  # so short a training is not judged good
        model.fit(X, y, monitor=lambda step, score: seen.append(in_turn()), **kept)
    assert seen == [False]
    assert in_turn()


def in_turn() -> bool:
    """Tell whether another thread gets its turn within a moment."""
    done = threading.Event()

    def wait() -> None:
        with one_at_a_time():
            done.set()

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.01)
    return done.wait(0.2)
