"""Archives of networks that strangers may send: each is refused before Keras sees it."""

import io
import json
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.models.networks import _saved
from fmnist_bench.models.networks._saved import from_bytes, to_bytes
from fmnist_bench.models.networks.cnn import CNNClassifier
from fmnist_bench.models.saved import load_model, save_model

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


@pytest.fixture(scope="module")
def parts():
    """What the archive of a small network consists of."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(2)])
    with zipfile.ZipFile(io.BytesIO(to_bytes(network))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def reached(monkeypatch):
    """Which of Keras' readers were called; they still read."""
    calls = []

    def watched(name, read):
        def call(*given, **more):
            calls.append(name)
            return read(*given, **more)

        return call

    for name in ("load_model", "deserialize_keras_object"):
        monkeypatch.setattr(keras.saving, name, watched(name, getattr(keras.saving, name)))
    return calls


def archive_of(parts, mode=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", mode) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, part in parts.items() if isinstance(parts, dict) else parts:
            archive.writestr(name, part)
    return content.getvalue()


def with_config(parts, change):
    config = json.loads(parts[CONFIG])
    change(config)
    return archive_of({**parts, CONFIG: json.dumps(config).encode()})


def with_layer(parts, layer):
    return with_config(parts, lambda config: config["config"]["layers"].insert(1, layer))


def with_weights(parts, change):
    content = io.BytesIO(parts[WEIGHTS])
    with h5py.File(content, "r+") as file:
        change(file, "layers/dense/vars")
    return archive_of({**parts, WEIGHTS: content.getvalue()})


def test_the_archive_that_the_hostile_ones_are_made_of_loads(parts, reached):
    assert from_bytes(archive_of(parts)).count_params() == 23
    assert "load_model" in reached


def test_the_code_of_a_lambda_is_not_run(tmp_path, reached):
    canary = str(tmp_path / "canary")

    def write(x):
        open(canary, "w").close()
        return x

    network = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(write, output_shape=(4,))])
    content = to_bytes(network)
    (tmp_path / "canary").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"names what no network is made of: .*\.Lambda"):
        from_bytes(content)
    assert not reached and not (tmp_path / "canary").exists()


def test_no_module_that_a_file_names_is_imported(parts, tmp_path, monkeypatch, reached):
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\nclass Layer: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    layer = {"module": "stranger", "class_name": "Layer", "config": {}, "registered_name": "Layer"}
    with pytest.raises(ValueError, match=r"names what no network is made of: stranger\.Layer"):
        from_bytes(with_layer(parts, layer))
    assert not reached and not (tmp_path / "canary").exists()


@pytest.mark.parametrize("place", ["activation", "kernel_initializer", "kernel_regularizer", "unknown"])
@pytest.mark.parametrize("as_function", [True, False])
def test_a_function_that_fetches_files_is_not_called(parts, tmp_path, reached, place, as_function):
    (tmp_path / "secret").write_text("mine")
    given = {"fname": "canary", "origin": (tmp_path / "secret").as_uri(), "cache_dir": str(tmp_path)}
    named = {"module": "keras.utils", "registered_name": "get_file", "config": "get_file" if as_function else given}
    named["class_name"] = "function" if as_function else "get_file"
    content = with_config(parts, lambda config: config["config"]["layers"][1]["config"].update({place: [named]}))
    with pytest.raises(ValueError, match=r"names what no network is made of: keras\.utils\.get_file"):
        from_bytes(content)
    assert not reached and not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "TextVectorization"])
def test_no_file_that_a_layer_names_is_read(parts, tmp_path, reached, name):
    (tmp_path / "secret").write_text("mine")
    config = {"vocabulary": str(tmp_path / "secret")}
    with pytest.raises(ValueError, match=rf"names what no network is made of: keras\.layers\.{name}"):
        from_bytes(with_layer(parts, {"module": "keras.layers", "class_name": name, "config": config}))
    assert not reached


FOREIGN = {"fmnist_bench>PatchWhitening": "of this package", "Dense": "of Keras", "none>None": "of nobody"}


@pytest.mark.parametrize("registered", FOREIGN, ids=FOREIGN.get)
@pytest.mark.parametrize("module", [{"module": "keras.layers"}, {"module": None}, {}], ids=["module", "null", "legacy"])
@pytest.mark.parametrize("name", ["Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "Layer"])
def test_another_registered_name_hides_no_layer(parts, reached, name, module, registered):
    layer = {**module, "class_name": name, "config": {}, "registered_name": registered}
    with pytest.raises(ValueError, match="names what no network is made of"):
        from_bytes(with_layer(parts, layer))
    assert not reached


@pytest.mark.parametrize(
    "function",
    [
        {"module": "keras.utils", "config": "get_file", "registered_name": "fmnist_bench>PatchWhitening"},
        {"module": "keras.config", "config": "enable_unsafe_deserialization", "registered_name": "relu"},
        {"module": "keras.utils", "config": "relu", "registered_name": "get_file"},
        {"module": "os", "config": "abort"},
        {"module": "math", "config": "tanh"},
        {"module": "keras.layers", "config": "deserialize"},
        {"module": "keras.activations", "config": "get"},
        {"module": "keras.metrics", "config": "AUC"},
        {"module": "keras.src.saving.saving_lib", "config": "load_model"},
        {"module": "builtins", "config": ["eval"]},
    ],
    ids=lambda entry: f"{entry['module']}.{entry['config']}",
)
def test_only_functions_that_networks_have_are_named(parts, reached, function):
    named = {"class_name": "function", "registered_name": "function", **function}
    with pytest.raises(ValueError, match="names what no network is made of"):
        from_bytes(with_config(parts, lambda config: config["config"]["layers"][1]["config"].update(activation=named)))
    assert not reached


@pytest.mark.parametrize(
    ("place", "name", "value", "said"),
    [(0, "batch_shape", [None, 10**9], "batch_shape=1000000000"), (1, "units", 10**12, "units=1000000000000")],
)
def test_a_huge_layer_is_refused(parts, reached, place, name, value, said):
    huge = with_config(parts, lambda config: config["config"]["layers"][place]["config"].update({name: value}))
    with pytest.raises(ValueError, match=f"has a number above 16777216: {said}"):
        from_bytes(huge)
    assert not reached


def test_a_network_of_more_weights_than_its_file_is_not_made(parts, reached):
    def grow(config):
        layers = config["config"]["layers"]
        layers[0]["config"]["batch_shape"], layers[1]["config"]["units"] = [None, 2**20], 2**20
        config["build_config"] = {"input_shape": [None, 2**20]}
        for layer in layers:
            layer.pop("build_config", None)

    with pytest.raises(ValueError, match=r"would have 1099514773506 weights, its file has 23"):
        from_bytes(with_config(parts, grow))
    assert reached == ["deserialize_keras_object"]  # without weights
    assert from_bytes(archive_of(parts)).count_params() == 23  # nothing of it is left to be made now


def test_an_array_of_padded_text_is_refused(parts, reached):
    value = {"class_name": "__numpy__", "config": {"value": ["a"] * 9, "dtype": "S1000000000"}}
    with pytest.raises(ValueError, match="names what no network is made of"):
        from_bytes(with_config(parts, lambda config: config["config"]["layers"][1]["config"].update(units=value)))
    assert not reached


def external_link(file, place, secret):
    del file[place]["0"]
    file[place]["0"] = h5py.ExternalLink(str(secret), "0")


def soft_link(file, place, secret):
    file[place]["1"].parent.pop("1")
    file[place]["1"] = h5py.SoftLink(f"/{place}/0")


def external_storage(file, place, secret):
    del file[place]["0"]
    file[place].create_dataset("0", (4, 3), "float32", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def virtual(file, place, secret):
    del file[place]["0"]
    layout = h5py.VirtualLayout((4, 3), "float32")
    layout[:] = h5py.VirtualSource(str(secret), "0", (4, 3))
    file[place].create_virtual_dataset("0", layout)


def never_written(file, place, secret):
    del file[place]["0"]
    file[place].create_dataset("0", (2**20, 2**20), "float32", chunks=(2**10, 2**10), fillvalue=1.0)


def inflated(file, place, secret):
    del file[place]["0"]
    file[place].create_dataset("0", data=np.zeros((2**10, 2**10), "float32"), compression="gzip")


def references(file, place, secret):
    file[place].create_dataset("2", data=np.array([file.ref], dtype=h5py.ref_dtype))


def circle(file, place, secret):
    file[place]["again"] = file["/"]


HDF5 = [external_link, soft_link, external_storage, virtual, never_written, inflated, references, circle]


@pytest.mark.parametrize("change", HDF5, ids=lambda change: change.__name__)
def test_weights_come_from_the_archive_alone(parts, tmp_path, reached, change):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["0"] = np.ones((4, 3), "float32")
    content = with_weights(parts, lambda file, place: change(file, place, secret))
    with pytest.raises(ValueError, match="the network's weights: "):
        from_bytes(content)
    assert not reached


@pytest.mark.parametrize(
    "name", ["../canary", "/tmp/canary", "assets/../../canary", "assets/vocabulary.txt", "model.weights.npz", r"a\..\b"]
)
def test_an_archive_of_other_parts_is_refused(parts, reached, name):
    with pytest.raises(ValueError, match="the network's archive must hold"):
        from_bytes(archive_of({**parts, name: b"mine"}))
    assert not reached


def test_an_archive_with_two_configurations_is_refused(parts, reached):
    with pytest.raises(ValueError, match="the network's archive must hold"):
        from_bytes(archive_of([*parts.items(), (CONFIG, parts[CONFIG])]))
    assert not reached


def test_what_is_no_archive_or_lacks_a_part_is_refused(parts, reached):
    with pytest.raises(ValueError, match="no archive"):
        from_bytes(parts[WEIGHTS])  # older files of Keras are HDF5 throughout
    with pytest.raises(ValueError, match="the network's archive must hold"):
        from_bytes(archive_of({CONFIG: parts[CONFIG], METADATA: parts[METADATA]}))
    assert not reached


def test_a_bomb_is_refused_before_it_is_inflated(parts, reached):
    with pytest.raises(ValueError, match="its parts are said to have"):
        from_bytes(archive_of({**parts, WEIGHTS: b"\0" * 2**24}, zipfile.ZIP_DEFLATED))
    assert not reached


def test_a_configuration_nested_deeper_than_can_be_read_is_refused(parts, reached):
    with pytest.raises((ValueError, RecursionError)):
        from_bytes(archive_of({**parts, CONFIG: b"[" * 100_000}))
    assert not reached


def test_a_hostile_network_within_a_model_is_one_line(parts, digits, tmp_path, monkeypatch, reached):
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {}, "registered_name": None}
    model = CNNClassifier(n_convs=1, convs_per_block=1, filters=2, epochs=1).fit(digits.X[:50], digits.y[:50])
    monkeypatch.setattr(_saved, "to_bytes", lambda network: with_layer(parts, layer))
    save_model(model, tmp_path / "model.skops")
    reached.clear()
    with pytest.raises(InputError, match=r"model\.skops: not a readable model file: .*keras\.layers\.Lambda"):
        load_model(tmp_path / "model.skops")
    assert not reached
