"""Clocks for the tests of deadlines: how fast a machine is and what else it does have no say."""

from types import SimpleNamespace


class Clock(SimpleNamespace):
    """Stands for the module `time`; moves on by a step whenever it is looked at."""

    def __init__(self, step: float = 0.0) -> None:
        super().__init__(now=1000.0, step=step)

    def monotonic(self) -> float:
        """Give the seconds of the clock."""
        self.now += self.step
        return self.now
