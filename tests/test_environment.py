import os

import fmnist_bench
from fmnist_bench.environment import LIBRARIES, cores, machine, versions


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
