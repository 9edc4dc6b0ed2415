import json

import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.storage.find_runs import find_runs, newest_run


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results with two runs of `all`, the younger one damaged in the end, and one of `smoke`."""
    monkeypatch.chdir(tmp_path)
    for created, name in enumerate(("all-a-1", "all-b-1", "smoke-a-1")):
        folder = tmp_path / "mlruns" / "runs" / name
        folder.mkdir(parents=True)
        state = {"benchmark": name.partition("-")[0], "created": float(9 - created), "seconds": 0.0, "studies": {}}
        (folder / "run.json").write_text(json.dumps(state))
    return tmp_path / "mlruns" / "runs"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["smoke-a-1", "all-b-1", "all-a-1"]),
        (["mlruns"], ["smoke-a-1", "all-b-1", "all-a-1"]),
        (["all"], ["all-b-1", "all-a-1"]),
        (["all-b-1", "smoke", "mlruns/runs/all-b-1"], ["all-b-1", "smoke-a-1"]),
    ],
)
def test_runs_are_named_by_folder_by_results_or_by_benchmark(results, names, expected):
    assert [folder.name for folder in find_runs(names)] == expected


def test_a_name_of_nothing_is_refused_with_what_may_have_been_meant(results):
    with pytest.raises(InputError, match=r"smok: is no folder of a run, .* did you mean smoke\?"):
        find_runs(["smok"])
    with pytest.raises(InputError, match="nowhere holds no run"):
        find_runs([], "nowhere")


def test_a_damaged_run_is_still_found_by_its_folder(results):
    (results / "all-b-1" / "run.json").write_text("{")
    assert [folder.name for folder in find_runs([])] == ["all-b-1", "smoke-a-1", "all-a-1"]
    assert [folder.name for folder in find_runs(["all"])] == ["all-a-1"]
    assert newest_run("all-b-1").name == "all-b-1"


def test_a_home_that_is_not_known_is_refused():
    with pytest.raises(
        InputError, match="~nobody-of-this-name/mlruns: the home folder that is meant by ~ is not known"
    ):
        find_runs(["~nobody-of-this-name/mlruns"])
