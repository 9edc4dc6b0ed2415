import os
import sys

import pytest

from fmnist_bench import run_benchmark
from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import DefaultConfiguration, SearchSpace, Study
from fmnist_bench.progress.displays import Progress
from fmnist_bench.runner import check_benchmark
from fmnist_bench.storage.run_folder import Run, Store
from fmnist_bench.trials.hypermodel_space import WRAPPER, with_hyperspace

FOUND = [
    {"name": "kind", "choices": ["dense", "conv"], "when": []},
    {"name": "units", "low": 8, "high": 64, "log": False, "step": 8, "when": [["kind", ["dense"]]]},
    {"name": "pooled", "choices": [True, False], "when": [["kind", ["conv"]]]},
    {
        "name": "size",
        "low": 2,
        "high": 4,
        "log": False,
        "step": None,
        "when": [["kind", ["conv"]], ["pooled", [True]]],
    },
]


def resolve(defaults=(), fidelity=(), **arguments):
    space = SearchSpace(
        "own", Spec("theirs.Model", arguments), defaults=tuple(defaults), fidelity=Fidelity(dict(fidelity))
    )
    return with_hyperspace(space, FOUND, outer=("hypermodel", "epochs", "batch_size"), inner=("n_classes",))


def test_what_a_hypermodel_asks_for_becomes_ranges():
    space = resolve(n_classes=7, epochs=3)
    assert space.model.use == WRAPPER
    assert not resolve(fidelity={"model__epochs": (2, 6)}).trains_network, "a limit cuts its schedule off"
    assert space.model.arguments["hypermodel"] == Spec("theirs.Model", {"n_classes": 7})
    assert space.model.arguments["epochs"] == 3
    assert Study(space).ranges() == {
        "model__kind": Range(choices=("dense", "conv")),
        "model__units": Range(8, 64, step=8, when=(("model__kind", ("dense",)),)),
        "model__pooled": Range(choices=(True, False), when=(("model__kind", ("conv",)),)),
        "model__size": Range(2, 4, when=(("model__kind", ("conv",)), ("model__pooled", (True,)))),
    }


def test_what_the_study_says_wins():
    space = resolve(kind="conv", size=Range(3, 4))
    assert space.model.arguments["kind"] == "conv"
    assert Study(space).ranges() == {
        "model__pooled": Range(choices=(True, False)),
        "model__size": Range(3, 4, when=(("model__pooled", (True,)),)),
    }
    assert set(Study(resolve(kind="dense")).ranges()) == {"model__units"}
    assert Study(resolve(epochs=Range(1, 5))).ranges()["model__epochs"] == Range(1, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": 3}, r"study own, \[model\].unit: theirs.Model asks for no such thing; did you mean units\?"),
        (
            {"defaults": [DefaultConfiguration("one", {"model__units": 99})]},
            r"study own, \[\[default\]\] one: model__units = 99 is outside its range \[8, 64\] step 8",
        ),
        ({"fidelity": {"model__units": (8, 16)}}, r"study own, \[fidelity\]: model__units is searched"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        resolve(**arguments)


OWN = """
[model]
use = "hypermodels.Conditional"
n_classes = 10
epochs = 2
units = { low = 16, high = 32 }
[[default]]
kind = "conv"
filters = 8
pooled = false
rate = 0.01
"""
BENCHMARK = 'data = "digits"\nvalid_size = 0.2\nseed = 1\ntrials = 4\nstudies = ["own"]\n'
ALLOWED = ("hypermodels",)


@pytest.mark.slow
def test_a_hypermodel_from_a_study_to_the_report(arena, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # lets the server of workers import Keras once
    arena("studies/own.toml", OWN)
    arena("b.toml", BENCHMARK)
    outcome = run_benchmark("b.toml", progress=Progress(), allow_import=ALLOWED)
    records = Run(Store("mlruns"), outcome.folder, "b").records("own")
    assert len(records) == 4
    assert {record.status for record in records} <= {"complete", "pruned"}
    first = records[0]
    assert (first.default, first.result.accuracy > 0.5) == ("0", True)
    assert first.parameters == {
        f"model__{n}": v for n, v in (("kind", "conv"), ("filters", 8), ("pooled", False), ("rate", 0.01))
    }
    others = {
        "dense": {"model__kind", "model__rate", "model__units"},
        "conv": {"model__kind", "model__rate", "model__filters", "model__pooled"},
    }
    for record in records:
        assert record.parameters.keys() - {"model__pool"} == others[record.parameters["model__kind"]]
        assert ("model__pool" in record.parameters) == record.parameters.get("model__pooled", False)
        assert 16 <= record.parameters.get("model__units", 16) <= 32
        assert len(record.result.history["step"]) == 2 or record.status == "pruned"
    assert {record.parameters["model__kind"] for record in records} == {"dense", "conv"}
    assert outcome.findings.ensemble is not None


def test_a_module_that_was_not_allowed_is_refused(arena):
    arena("studies/own.toml", OWN)
    arena("b.toml", BENCHMARK)
    with pytest.raises(InputError, match=r"study own, \[model\].use: hypermodels.Conditional is not allowed"):
        check_benchmark("b.toml")


def test_what_is_wrong_with_a_hypermodel_is_one_line(arena):
    arena("b.toml", BENCHMARK)
    arena("studies/own.toml", '[model]\nuse = "hypermodels.NoNetwork"\n')
    message = r"study own, \[model\]: hypermodels.NoNetwork: NoNetwork.build must return a keras.Model, found None"
    with pytest.raises(InputError, match=message):
        check_benchmark("b.toml", allow_import=ALLOWED)
    arena("studies/own.toml", OWN.replace("n_classes = 10", "n_classes = { low = 2, high = 10 }"))
    with pytest.raises(InputError, match=r"n_classes: an argument of hypermodels.Conditional itself needs a value"):
        check_benchmark("b.toml", allow_import=ALLOWED)


def test_any_other_class_of_somebody_elses_is_left_as_it_is(arena):
    arena("b.toml", BENCHMARK)
    arena("studies/own.toml", '[model]\nuse = "troublemakers.Trouble"\n')
    assert "every configuration can be built" in check_benchmark("b.toml", allow_import=("troublemakers",))
