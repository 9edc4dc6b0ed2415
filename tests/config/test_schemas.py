"""The JSON Schemas say what the parser of studies and benchmarks, and the events of a run, do."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.files import find_files
from fmnist_bench.config.loader import BENCHMARK_KEYS, DISTILL_RULES, load_space, load_suite
from fmnist_bench.config.parsing import ENGINES, SPACE_KEYS
from fmnist_bench.config.schemas import NAMES, schema, schema_file
from fmnist_bench.config.study import EnsembleConfig
from fmnist_bench.storage.results import STATUSES

MODEL = '[model]\nuse = "sklearn.svm.SVC"\n'
LOADERS = {"study": load_space, "benchmark": load_suite}


def is_valid(name, table):
    return jsonschema.Draft7Validator(schema(name)).is_valid(table)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one(name):
    jsonschema.Draft7Validator.check_schema(schema(name))


def test_schemas_and_parser_know_the_same_keys():
    space, benchmark = schema("study"), schema("benchmark")
    assert set(space["properties"]) == SPACE_KEYS
    assert set(benchmark["properties"]) == BENCHMARK_KEYS
    assert set(benchmark["properties"]["ensemble"]["properties"]) == set(EnsembleConfig.__dataclass_fields__)
    assert set(benchmark["properties"]["distill"]["properties"]) == set(DISTILL_RULES)
    search = space["definitions"]["search"]["properties"]
    assert search["engine"]["enum"] == list(ENGINES)
    assert set(search["oracle"]["enum"]) == {oracle for oracles in ENGINES.values() for oracle in oracles}


def test_a_trial_that_ended_has_a_status_of_the_store():
    ended = next(event for event in schema("event")["oneOf"] if event["title"] == "trial")
    assert ended["properties"]["status"]["enum"] == list(STATUSES)


@pytest.mark.parametrize("kind", ["studies", "benchmarks"])
def test_every_shipped_file_is_valid_and_names_its_schema(kind):
    name = {"studies": "study", "benchmarks": "benchmark"}[kind]
    for path in find_files(kind).values():
        text = path.read_text()
        jsonschema.validate(tomllib.loads(text), schema(name), jsonschema.Draft7Validator)
        named = re.match("#:schema (.*)\n", text)[1]
        assert (path.parent / named).resolve() == schema_file(name).resolve()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("study", ""),
        ("study", "model = 3"),
        ("study", "[model]\nC = 1"),
        ("study", "[model]\nuse = 3"),
        ("study", MODEL + "C = { low = 1 }"),
        ("study", MODEL + "C = { low = 1, high = true }"),
        ("study", MODEL + "C = { low = 1, high = 2, steps = 1 }"),
        ("study", MODEL + "C = { low = 1, high = 2, log = 1 }"),
        ("study", MODEL + "C = { low = 1, high = 2, step = 0 }"),
        ("study", MODEL + "C = { choices = [] }"),
        ("study", MODEL + "C = { choices = [{ use = 'a.B' }] }"),
        ("study", MODEL + "C = { none = false }"),
        ("study", MODEL + "C = 1979-05-27"),
        ("study", MODEL + "C = [{ low = 1, high = 2 }, 3]"),
        ("study", MODEL + "C = [{ use = 'a.B' }, 3]"),
        ("study", MODEL + "C = {}"),
        ("study", MODEL + "[modle]"),
        ("study", MODEL + "[features]\nuse = 'sklearn.decomposition.PCA'"),
        ("study", MODEL + "[[features]]\nn_components = 3"),
        ("study", MODEL + "[known]\nC = 1"),
        ("study", MODEL + "[[default]]\nname = 3"),
        ("study", MODEL + "[[default]]\nC = { low = 1, high = 2 }"),
        ("study", MODEL + "[[default]]\nalone = 'yes'"),
        ("study", MODEL + "[fidelity]\nrows = [1]"),
        ("study", MODEL + "[fidelity]\nrows = [0, 1]"),
        ("study", MODEL + "[fidelity]\nepochs = ['few', 'many']"),
        ("study", MODEL + "[search]\nengine = 'grid'"),
        ("study", MODEL + "[search]\noracle = 'best'"),
        ("study", MODEL + "[resources]\ngpus = 0"),
        ("benchmark", ""),
        ("benchmark", "studies = []"),
        ("benchmark", "studies = ['knn', 'knn']"),
        ("benchmark", "studies = ['knn']\nrows = 0"),
        ("benchmark", "studies = ['knn']\nrows = true"),
        ("benchmark", "studies = ['knn']\nseed = -1"),
        ("benchmark", "studies = ['knn']\ntrials = 0.5"),
        ("benchmark", "studies = ['knn']\nvalid_size = 1.5"),
        ("benchmark", "studies = ['knn']\nbudget = 'soon'"),
        ("benchmark", "studies = ['knn']\nbudget = '1h30'"),
        ("benchmark", "studies = ['knn']\nbudget = 0"),
        ("benchmark", "studies = ['knn']\ndata = 3"),
        ("benchmark", "studies = ['knn']\ndata = []"),
        ("benchmark", "studies = ['knn']\ndata = ['digits', 'digits']"),
        ("benchmark", "studies = ['knn']\nrows = [600, 0]"),
        ("benchmark", "studies = ['knn']\nrows = [600, 600]"),
        ("benchmark", "studies = ['knn']\nseeds = 0"),
        ("benchmark", "studies = ['knn']\nbudget_per_task = '1h30'"),
        ("benchmark", "studies = ['knn']\nensemble = 3"),
        ("benchmark", "studies = ['knn']\n[ensemble]\nmax_steps = 0"),
        ("benchmark", "studies = ['knn']\n[ensemble]\nsteps = 3"),
        ("benchmark", "studies = ['knn']\ndistill = true"),
        ("benchmark", "studies = ['knn']\n[distill]\nshare = 0"),
        ("benchmark", "studies = ['knn']\n[distill]\nsynthetic = 'yes'"),
        ("benchmark", "studies = ['knn']\nbugdet = 3"),
    ],
)
def test_what_the_schema_refuses_the_parser_refuses(name, text, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError):
        LOADERS[name](path)
    assert not is_valid(name, tomllib.loads(text))


scalars = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from([-0.5, 0.25, 1.0, 2.5]), st.sampled_from("ab"))
values = st.recursive(
    st.one_of(scalars, st.just({"none": True})),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["0", "1", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
arguments = st.one_of(
    values,
    st.lists(
        st.one_of(st.just({"use": "a.B"}), st.tuples(st.sampled_from("ab"), st.just({"use": "a.B"})).map(list)),
        max_size=2,
    ),
    st.lists(scalars, max_size=2),
    st.dictionaries(st.sampled_from(["low", "high", "log", "step", "choices", "use"]), scalars, max_size=3),
    st.fixed_dictionaries({"low": scalars, "high": scalars}, optional={"log": scalars, "step": scalars}),
    st.fixed_dictionaries({"choices": st.lists(values, max_size=2)}),
)
objects = st.dictionaries(st.sampled_from(["use", "C", "gamma"]), arguments, max_size=3)
levels = st.dictionaries(st.sampled_from(["rows", "epochs"]), st.lists(scalars, max_size=3), max_size=2)
spaces = st.fixed_dictionaries(
    {"model": st.fixed_dictionaries({"use": st.just("a.B")}, optional={"C": arguments, "gamma": arguments})},
    optional={
        "features": st.lists(objects, max_size=2),
        "default": st.lists(st.dictionaries(st.sampled_from(["name", "alone", "C"]), values), max_size=2),
        "fidelity": levels,
        "search": st.dictionaries(st.sampled_from(["engine", "oracle"]), st.sampled_from(["tpe", "optuna", "random"])),
        "resources": st.dictionaries(st.just("gpus"), scalars),
    },
)
benchmarks = st.fixed_dictionaries(
    {"studies": st.lists(st.sampled_from(["knn", "mlp"]), max_size=2)},
    optional={
        **dict.fromkeys(["valid_size", "seed", "seeds", "trials"], scalars),
        **dict.fromkeys(["rows", "data"], st.one_of(scalars, st.lists(scalars, max_size=2))),
        "budget": st.one_of(scalars, st.from_regex(r"\A[0-9.]{0,3}h?[0-9]?m?[0-9.]{0,2}s?\Z")),
        "distill": st.dictionaries(st.sampled_from(["share", "synthetic"]), scalars, max_size=2),
        "ensemble": st.one_of(scalars, st.dictionaries(st.sampled_from(["max_steps", "per_study", "x"]), scalars)),
    },
)


def as_toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value) if not isinstance(value, list) else "[" + ", ".join(map(as_toml, value)) + "]"


@pytest.mark.parametrize(("name", "tables"), [("study", spaces), ("benchmark", benchmarks)])
def test_what_the_parser_takes_the_schema_takes(name, tables, tmp_path):
    """Otherwise an editor would mark a good file as a bad one."""
    path = tmp_path / "any.toml"
    taken = []

    @settings(deadline=None, max_examples=60)  # a slow machine is no fault
    @given(tables)
    def check(table):
        path.write_text("\n".join(f"{key} = {as_toml(value)}" for key, value in table.items()))
        try:
            LOADERS[name](Path(path))
        except InputError:
            return
        taken.append(table)
        jsonschema.validate(tomllib.loads(path.read_text()), schema(name), jsonschema.Draft7Validator)

    check()
    assert taken
