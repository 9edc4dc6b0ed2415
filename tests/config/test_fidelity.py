"""Which rungs a study has on so many rows."""

from dataclasses import replace

import pytest

from fmnist_bench.config.fidelity import EPOCHS, ROWS, Fidelity
from fmnist_bench.config.loader import load_benchmark

NETWORK = Fidelity({ROWS: (0.2, 1.0, 1.0, 1.0), EPOCHS: (2, 6, 14, 35), "model__shift": (0, 0, 0, 1)})
THREE = Fidelity({ROWS: (0.15, 0.4, 1.0)})


@pytest.mark.parametrize(
    "fidelity, n_rows, n_classes, shares",
    [
        (THREE, 55_000, 10, (0.15, 0.4, 1.0)),
        (THREE, 6667, 10, (0.15, 0.4, 1.0)),  # 100 rows a class are enough
        (THREE, 6666, 10, (0.4, 1.0)),
        (THREE, 2500, 10, (0.4, 1.0)),
        (THREE, 1198, 10, (1.0,)),
        (THREE, 50, 10, (1.0,)),  # the highest stays, however little it learns from
        (THREE, 1334, 2, (0.15, 0.4, 1.0)),
        (Fidelity(), 50, 10, None),
    ],
)
def test_a_rung_with_few_rows_of_a_class_is_left_out(fidelity, n_rows, n_classes, shares):
    assert fidelity.for_rows(n_rows, n_classes).levels.get(ROWS) == shares


@pytest.mark.parametrize(
    "n_rows, epochs", [(55_000, (2, 6, 14, 35)), (5000, (6, 14, 35)), (1000, (14, 35)), (999, (35,)), (100, (35,))]
)
def test_a_rung_that_shows_a_network_few_images_is_left_out(n_rows, epochs):
    fitting = NETWORK.for_rows(n_rows, 10)
    assert fitting.levels[EPOCHS] == epochs
    assert fitting.at(fitting.n_rungs - 1) == NETWORK.at(3)
    assert fitting.work[-1] == fitting.costs[-1] == 1.0


def test_the_shipped_benchmark_is_the_same_at_its_full_size_and_hyperband_keeps_its_rungs():
    benchmark = load_benchmark("all")
    assert benchmark.for_rows(55_000, 10) == benchmark
    assert all(space.fidelity.n_rungs == 1 for space in benchmark.for_rows(500, 10).spaces)
    banded = replace(benchmark.spaces[0], engine=replace(benchmark.spaces[0].engine, oracle="hyperband"))
    benchmark = replace(benchmark, spaces=(banded,))
    assert benchmark.for_rows(500, 10) == benchmark
