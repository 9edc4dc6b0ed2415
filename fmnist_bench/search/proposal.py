"""A trial that could be begun next, and one that has begun."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fmnist_bench.storage.records import SEARCH


@dataclass(frozen=True)
class Proposal:
    """A trial that could be begun next.

    Attributes
    ----------
    parameters : mapping or None
        None for a new configuration, which the sampler chooses.
    default : str
        Name of the default configuration.
    rung : int
    seconds : float
        What it is likely to take, 0 where nothing is known.
    preparation : bool
        An augmentation is to learn.
    phase : str
        One of `PHASES`.
    settings : mapping
        Parameters of the model that the plan sets, beside those of the rung.
    places : int
        Trials that could run at once where this one runs.
    limit : float or None
        Seconds that it may take; None leaves that to the search.
    """

    parameters: Mapping[str, Any] | None
    default: str
    rung: int
    seconds: float
    preparation: bool = False
    phase: str = SEARCH
    settings: Mapping[str, Any] = field(default_factory=dict)
    places: int = 1
    limit: float | None = None


@dataclass(frozen=True)
class Running:
    """A trial in progress, and when it began by ``time.monotonic()``."""

    proposal: Proposal
    started: float

    @property
    def seconds(self) -> float:
        """Seconds that it is likely to take, or has taken already."""
        return max(self.proposal.seconds, time.monotonic() - self.started)

    @property
    def ends(self) -> float:
        """When it is likely to end, by ``time.monotonic()``."""
        return self.started + self.proposal.seconds
