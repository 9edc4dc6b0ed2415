import json

import pytest

from fmnist_bench.cli import main


@pytest.mark.parametrize("name", ["study", "benchmark", "event"])
def test_schemas_are_printed(name, capsys):
    assert main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["title"].lower() == name


def test_report_list_check_and_data_work_where_a_run_was(again, capsys):
    assert main(["report", "tiny", "--markdown", "tiny.md"]) == 0
    assert "bayes" in (again / "tiny.md").read_text()
    assert next(again.glob("mlruns/runs/*/figures/anytime.png")).read_bytes().startswith(b"\x89PNG")
    assert main(["list"]) == main(["list", "bayes"]) == 0
    assert main(["check", "tiny"]) == 0
    assert main(["data", "digits"]) == 0
    printed = capsys.readouterr().out
    assert "model__var_smoothing [1e-09, 0.1] log" in printed
    assert "every configuration can be built" in printed
    assert "1500 images of 8 x 8" in printed
