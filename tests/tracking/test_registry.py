import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench.report.commands import serve_hint
from fmnist_bench.tracking.registry import describe, is_better, registered_name

TAGS = {"data_fingerprint": "f", "train_rows": "80", "validation_rows": "20", "valid_accuracy": "0.9", "seed": "0"}


@pytest.mark.parametrize(
    ("data", "benchmark", "name"),
    [
        ("fashion-mnist", "all", "fmnist-ensemble"),
        ("fashion-mnist", "smoke", "fmnist-ensemble-smoke"),
        ("digits", "all", "digits-ensemble"),
        ("my images/v1:a", "cnn", "my-images-v1-a-ensemble-cnn"),
        ("-x", "all", "x-ensemble"),
        ("--mlruns=/é", "-b", "mlruns-é-ensemble--b"),
    ],
)
def test_a_name_for_each_data_set_and_benchmark(data, benchmark, name):
    assert registered_name(data, benchmark) == name


@pytest.mark.parametrize(
    ("champion", "better", "words"),
    [
        (None, True, "the new champion"),
        ({**TAGS, "valid_accuracy": "0.89", "seed": "1"}, True, "the new champion"),
        ({**TAGS, "valid_accuracy": "0.9"}, False, "no worse and stays"),
        ({**TAGS, "valid_accuracy": "0.1", "validation_rows": "30"}, None, "on other rows and stays"),
        ({**TAGS, "valid_accuracy": "0.1", "data_fingerprint": "g"}, None, "on other rows and stays"),
        ({}, None, "on other rows and stays"),
    ],
)
def test_the_champion_is_better_on_as_many_rows_of_the_same_data(champion, better, words):
    assert is_better(TAGS, champion) is better
    assert words in describe("digits-ensemble", "3", TAGS, champion)


def test_the_hint_names_the_version_and_where_it_is():
    version = {"model": "digits-ensemble/2"}
    here = serve_hint(version, "mlruns", "")
    assert here == {"Serve": "python -m fmnist_bench serve digits-ensemble/2 --mlruns mlruns"}
    there = serve_hint(version, "mlruns", "http://host:5000")
    assert there == {"Serve": "python -m fmnist_bench serve digits-ensemble/2 --tracking-uri http://host:5000"}
    assert serve_hint(None, "mlruns", "") == {}


@given(st.text(min_size=1), st.text(), st.sampled_from(["my runs", "a?b&c", "$x"]))
def test_what_the_hint_says_is_what_a_shell_runs(data, benchmark, folder):
    name = registered_name(data, benchmark)
    hint = serve_hint({"model": f"{name}/1"}, folder, "")["Serve"]
    assert shlex.split(hint)[3:] == ["serve", f"{name}/1", "--mlruns", folder]
    assert not name.startswith("-") and re.fullmatch(r"[\w.-]+", name)
