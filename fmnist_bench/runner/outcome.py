"""Where a run has left its results, and what was found."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmnist_bench.report.findings import Findings
from fmnist_bench.report.kept_scores import SCORES


@dataclass(frozen=True)
class Outcome:
    """Where a run has left its results, and what was found.

    Attributes
    ----------
    folder : Path
        Holds ``report.html``, ``report.md`` and ``ensemble``.
    findings : Findings
    seconds : float
        Of the budget that were used.
    stopped : bool
        Whether Ctrl-C or a signal ended the search.
    """

    folder: Path
    findings: Findings = field(repr=False)  # thousands of probabilities
    seconds: float
    stopped: bool = False

    def summary(self) -> dict[str, Any]:
        """What was found in plain types, for JSON: where it is, and the scores of everyone, the ensemble first."""
        everyone = self.findings.everyone
        chosen = {who.name: self.findings.scores(who) for who in everyone if who.scored}
        models = [
            {"name": name, **{key: float(row.get(key, math.nan)) for key in SCORES}} for name, row in chosen.items()
        ]
        return {
            "folder": str(self.folder),
            "report": str(self.folder / "report.html"),
            "ensemble": str(self.folder / "ensemble") if self.findings.ensemble else None,
            "seconds": self.seconds,
            "models": models,
        }
