"""What networks share: a turn each, and memory that stays for its length."""

import contextlib
import json
import platform
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypermodels import Conditional

from fmnist_bench.models.augmentation._gan_training import FailedGAN
from fmnist_bench.models.augmentation.gan import ConditionalGAN
from fmnist_bench.models.networks._exclusive import one_at_a_time
from fmnist_bench.models.networks._hypermodel_space import discover
from fmnist_bench.models.networks.cnn import CNNClassifier

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
        assert not in_turn(0.2)
    assert in_turn()


@pytest.mark.parametrize(
    "model", [CNNClassifier(filters=4, epochs=1), ConditionalGAN(steps=10, latent=4, width=4, batch_size=20)], ids=repr
)
def test_whoever_trains_a_network_has_a_turn(digits, model):
    seen: list[bool] = []
    X, y = digits.X[:200], digits.y[:200]
    kept = {} if isinstance(model, ConditionalGAN) else {"validation_data": (X, y)}
    with contextlib.suppress(FailedGAN):  # so short a training is not judged good
        model.fit(X, y, monitor=lambda step, score: seen.append(in_turn(0.2)), **kept)
    assert seen == [False]
    assert in_turn()


def in_turn(seconds: float = 60.0) -> bool:
    """Tell whether another thread gets its turn within so many seconds."""
    done = threading.Event()

    def wait() -> None:
        with one_at_a_time():
            done.set()

    threading.Thread(target=wait, daemon=True).start()
    return done.wait(seconds)


SETTINGS = """
import json, os, sys
from pathlib import Path
Path(sys.argv[1], "keras.json").write_text(json.dumps(json.loads(sys.argv[2])))
os.environ["KERAS_HOME"] = sys.argv[1]
import keras, numpy as np, pickle
from fmnist_bench.models.networks.cnn import CNNClassifier
rows = np.load(Path(sys.argv[1], "rows.npz"))
before = keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()
model = CNNClassifier(n_convs=2, epochs=1, whiten=True, random_state=0).fit(rows["X"], rows["y"])
expected = model.predict_proba(rows["X"])
assert np.allclose(pickle.loads(pickle.dumps(model)).predict_proba(rows["X"]), expected, atol=1e-6)
assert (keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()) == before
np.save(Path(sys.argv[1], "p.npy"), expected)
sys.path.insert(0, sys.argv[3])
from fmnist_bench.models.networks._hypermodel_space import discover
from hypermodels import Conditional
Path(sys.argv[1], "space.json").write_text(json.dumps(discover(Conditional())))
"""


def test_what_the_users_keras_json_says_changes_no_network(digits, tmp_path):
    X, y = digits.X[:200], digits.y[:200]
    np.savez(tmp_path / "rows.npz", X=X, y=y)
    settings = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1}
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", SETTINGS, str(tmp_path), json.dumps(settings), tests]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    here = CNNClassifier(n_convs=2, epochs=1, whiten=True, random_state=0).fit(X, y).predict_proba(X)
    assert np.allclose(np.load(tmp_path / "p.npy"), here, atol=1e-6)
    assert json.loads((tmp_path / "space.json").read_text()) == discover(Conditional())
