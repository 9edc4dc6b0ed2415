import os

import fmnist_bench
from fmnist_bench.environment import LIBRARIES, command, cores, machine, versions


def test_the_cores_are_those_that_may_be_used():
    assert 1 <= cores() <= os.cpu_count()


def test_versions_are_those_installed():
    import sklearn

    found = versions()
    assert found["fmnist_bench"] == fmnist_bench.__version__
    assert found["scikit-learn"] == sklearn.__version__
    assert set(found) <= {"fmnist_bench", *LIBRARIES}


def test_the_machine_says_what_a_figure_has_to_name():
    found = machine()
    assert "cores used" in found["processor"]
    assert found["memory"].endswith("GiB")
    assert all(found.values())


def test_the_command_says_no_password(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "run", "all", "--tracking-uri", "https://me:secret@host:5000/a@b"])
    assert command() == "python -m fmnist_bench run all --tracking-uri https://host:5000/a@b"
