"""How much a trial learns from: the rungs of a study, from a cheap look up to all rows and epochs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROWS = "rows"  # the one fidelity that is no argument: share of the train rows
EPOCHS = "model__epochs"
LEAST_ROWS = 100  # of a class, for a rung to tell anything of a configuration
LEAST_IMAGES = 10_000  # that a rung of epochs shows to a network, for the same


@dataclass(frozen=True)
class Fidelity:
    """The rungs of a study: cheap trials first, the better ones again for more.

    Attributes
    ----------
    levels : mapping of str to tuple
        Values of ``rows`` (share of the train rows, the last one 1), or of arguments under their full names, which do
        not fall; each rung costs more than the one below. Values that begin with 0, such as those of a regularisation
        that long trainings need, cost nothing.
    """

    levels: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def n_rungs(self) -> int:
        """Number of rungs, at least 1."""
        return max((len(values) for values in self.levels.values()), default=1)

    def at(self, rung: int) -> dict[str, Any]:
        """Settings of a rung, counted from 0."""
        return {name: values[rung] for name, values in self.levels.items()}

    def for_rows(self, n_rows: int, n_classes: int) -> "Fidelity":
        """Leave out the low rungs that would learn next to nothing from so many train rows; the highest stays."""

        def tells(rung: int) -> bool:
            level = self.at(rung)
            rows = n_rows * float(level.get(ROWS, 1.0))
            shows_enough = EPOCHS not in level or rows * float(level[EPOCHS]) >= LEAST_IMAGES
            return rows >= LEAST_ROWS * n_classes and shows_enough

        lowest = next(filter(tells, range(self.n_rungs)), self.n_rungs - 1)
        return Fidelity({name: values[lowest:] for name, values in self.levels.items()})

    @property
    def costs(self) -> tuple[float, ...]:
        """Guess of the cost of each rung, relative to that of the last.

        Forests and linear models take a little less than linear time in the rows, kernels more (measured from 15 % to
        all of 55,000 rows: powers of 0.9 to 1.4); what counts passes over them, such as epochs, is linear.
        """
        return self._relative(1.2 if self.paid.keys() == {ROWS} else 1.0)

    @property
    def work(self) -> tuple[float, ...]:
        """What each rung learns from, rows times passes over them, relative to the last."""
        return self._relative(1.0)

    def _relative(self, power_of_rows: float) -> tuple[float, ...]:
        powers = {name: power_of_rows if name == ROWS else 1.0 for name in self.paid}
        by_rung = [self.at(rung) for rung in range(self.n_rungs)]
        products = [math.prod(float(level[name]) ** power for name, power in powers.items()) for level in by_rung]
        return tuple(product / products[-1] for product in products)

    @property
    def paid(self) -> dict[str, tuple[Any, ...]]:
        """Levels that cost time."""
        return {name: values for name, values in self.levels.items() if values[0] != 0}
