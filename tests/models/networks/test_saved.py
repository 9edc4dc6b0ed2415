import io
import json
import zipfile

import keras
import numpy as np
import pytest

from fmnist_bench.models.networks._allowed import check_config
from fmnist_bench.models.networks._saved import from_bytes, to_bytes


@pytest.fixture(scope="module")
def network():
    pixels = keras.Input((4, 4, 1))
    x = keras.layers.RandomFlip("horizontal", seed=0)(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2", bias_constraint="non_neg")(x)
    x = keras.layers.Flatten()(x + 1.0)
    x = keras.Sequential([keras.layers.Dense(3, activation=keras.activations.gelu)])(x)
    made = keras.Model(pixels, keras.layers.Dense(2, dtype=keras.DTypePolicy("mixed_bfloat16"))(x))
    made.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 5)), "mse", ["accuracy"])
    return made


def changed(network, change):
    """Give the bytes of the network after `change` of its configuration."""
    source, target = zipfile.ZipFile(io.BytesIO(to_bytes(network))), io.BytesIO()
    with source, zipfile.ZipFile(target, "w") as archive:
        for part in source.namelist():
            content = source.read(part)
            archive.writestr(part, change(content.decode()) if part == "config.json" else content)
    return target.getvalue()


def test_a_network_of_many_parts_loads_again(network):
    images = np.random.default_rng(0).random((5, 4, 4, 1)).astype(np.float32)
    again = from_bytes(to_bytes(network))
    np.testing.assert_array_equal(again.predict(images, verbose=0), network.predict(images, verbose=0))


@pytest.mark.parametrize(
    "entry",
    [
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"},
        {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://127.0.0.1:9/x"}},
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "f"}},
        {"module": None, "class_name": "Lambda", "config": {"function": "f"}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp/x"}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "x"}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.src.layers.preprocessing.string_lookup", "class_name": "StringLookup", "config": {}},
        {"module": "keras.layers", "class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "os", "class_name": "system", "config": "id"},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"class_name": "__typespec__", "module": "os", "spec_name": "system", "config": ["id"]},
        {"class_name": ["Dense"], "config": {}},
        {"class_name": None, "config": {}},
    ],
    ids=lambda entry: str(entry["class_name"]) + str(entry.get("module")),
)
def test_what_no_network_is_made_of_is_refused(network, entry):
    def hide(config):
        found = json.loads(config)
        found["config"]["layers"][1]["config"]["scale"] = [{"deep": entry}]
        return json.dumps(found)

    with pytest.raises(ValueError, match="names what no network is made of"):
        from_bytes(changed(network, hide))


def test_what_the_program_has_registered_is_taken(network):
    @keras.saving.register_keras_serializable("tests_of_names")
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    entry = {"module": "theirs", "class_name": "Twice", "registered_name": "tests_of_names>Twice", "config": {}}
    check_config(entry)
    with pytest.raises(ValueError, match=r"theirs\.Thrice"):
        check_config({**entry, "class_name": "Thrice", "registered_name": "tests_of_names>Thrice"})
