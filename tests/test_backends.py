"""The same estimators on Keras' back ends, and weights against the network of their authors."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.torch

MAKE = {
    "cnn": "CNNClassifier(n_convs=2, filters=8, epochs=3, batch_size=32, precision='float32', random_state=0)",
    "transfer": "TransferClassifier(image_size=32, unfreeze=1, epochs=2, batch_size=32, precision='float32')",
}
START = """
import sys
from pathlib import Path
import keras, numpy as np
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.models.networks.cnn import CNNClassifier
from fmnist_bench.models.networks.transfer import TransferClassifier
X, y = (part[:300] for part in (load_dataset("digits").X, load_dataset("digits").y))
assert keras.backend.backend() == {backend!r}
"""
FIT = """
model = Pipeline({make}).fit(X, y, validation_data=(X, y))
assert len(model.model_.history_["valid_loss"]) == model.model_.epochs
save_model(model, Path("model.skops"))
np.save("probabilities.npy", model.predict_proba(X))
"""
LOAD = """
difference = load_model(Path("model.skops")).predict_proba(X) - np.load("probabilities.npy")
assert abs(difference).max() < 1e-4, abs(difference).max()
"""
EXPORT = """
from onnx_files import computed
difference = computed(load_model(Path("model.skops")), X) - np.load("probabilities.npy")
assert abs(difference).max() < 1e-4, abs(difference).max()
"""


def under(backend, code, folder):
    """Run code in a process of its own with a back end."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths}
    command = [sys.executable, "-c", START.format(backend=backend) + code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", list(MAKE))
@pytest.mark.parametrize(
    ("first", "second"), [("tensorflow", "torch"), ("torch", "tensorflow"), ("jax", "torch"), ("tensorflow", "jax")]
)
def test_a_saved_model_is_loaded_and_exported_by_another_back_end(kind, first, second, tmp_path):
    under(first, FIT.format(make=MAKE[kind]), tmp_path)
    under(second, LOAD + EXPORT, tmp_path)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_benchmark_runs_on_other_back_ends(backend, tmp_path):
    (tmp_path / "b.toml").write_text(
        'data = "digits"\nvalid_size = 0.3\ntrials = 1\naugment = false\nstudies = ["cnn"]\n'
    )
    command = [sys.executable, "-m", "fmnist_bench", "run", "b.toml"]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = tmp_path.glob("mlruns/runs/b-*/report.md")
    assert "complete" in report.read_text()


def test_jax_trains_no_gan_and_samples_one_that_was_trained_elsewhere(tmp_path):
    code = """
from fmnist_bench.models.augmentation.gan import ConditionalGAN
from fmnist_bench.models.networks._saved import to_bytes
from fmnist_bench.models.augmentation._gan_networks import build_generator
"""
    make = 'Path("gan.keras").write_bytes(to_bytes(build_generator((8, 8, 1), 10, 4, 4)))'
    refused = """
try:
    ConditionalGAN(steps=1).fit(X, y)
    raise AssertionError("it trains")
except ValueError as error:
    assert "KERAS_BACKEND=jax trains no GAN: must be tensorflow or torch" in str(error), error
"""
    sampled = """
rows, labels = ConditionalGAN(generator="gan.keras", latent=4, ratio=0.1, random_state=0).fit_resample(X, y)
assert rows.shape == (330, 64) and len(labels) == 330
"""
    under("tensorflow", code + make, tmp_path)
    under("jax", code + refused + sampled, tmp_path)


def test_lite0_gives_what_the_network_of_its_authors_gives():
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from fmnist_bench.models.networks._backbones import load_backbone
    from fmnist_bench.models.networks._weights import find_weights

    path = find_weights("efficientnet_lite0")
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    pixels = (np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)) - 127).astype(np.float32) / 128
    with torch.no_grad():
        expected = theirs.extract_features(torch.from_numpy(pixels.transpose(0, 3, 1, 2))).numpy()
    ours = load_backbone("efficientnet_lite0", 64, "imagenet", None)
    found = keras.ops.convert_to_numpy(ours(pixels, training=False)).transpose(0, 3, 1, 2)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)
