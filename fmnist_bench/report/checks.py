"""What a reader should know before trusting a leaderboard: ranges that are too narrow, studies that had too little."""

import math
from collections.abc import Iterator

from fmnist_bench.config.study import ROWS
from fmnist_bench.report.findings import Contestant, Findings
from fmnist_bench.storage.results import NO_WEIGHTS


def checks(findings: Findings) -> list[str]:
    """Give a line for each thing that a longer run, a wider range or another file may change."""
    return [*_edges(findings), *_starved(findings), *_without(findings), *_ensemble(findings)]


def _edges(findings: Findings) -> Iterator[str]:
    """Name best values at the edge of their ranges: better ones may lie beyond."""
    for who in findings.contestants:
        ranges = findings.ranges.get(who.name, {})
        found = [
            f"{name} = {who.parameters[name]:g} ({low:g} to {high:g})"
            for name, (low, high) in ranges.items()
            if _is_at(who, name, low) or _is_at(who, name, high)
        ]
        if found:
            yield f"{who.name}: the best value is at the edge of its range, so that a better one may lie beyond: " + (
                ", ".join(found)
            )


def _is_at(who: Contestant, name: str, end: float) -> bool:
    value = who.parameters.get(name)
    return end != 0 and isinstance(value, int | float) and math.isclose(value, end, rel_tol=1e-3)  # 0 is a natural end


def _starved(findings: Findings) -> Iterator[str]:
    """Name studies whose best trial did not learn from all train rows."""
    shares = {who.name: who.parameters.get(ROWS, 1) for who in findings.contestants}
    if found := [f"{name} ({share:.0%})".replace("%", " %") for name, share in shares.items() if share < 1]:
        yield f"Learnt from a part of the train rows: {', '.join(found)}; a larger --budget goes on with them"


def _without(findings: Findings) -> Iterator[str]:
    """Name studies without any complete trial, and why."""
    scored = {who.name for who in findings.contestants}
    for study in findings.studies:
        if study not in scored:
            last = [trial for trial in findings.trials if trial.study == study][-1]
            why = "its pretrained weights are missing" if last.status == NO_WEIGHTS else last.reason or last.status
            yield f"{study} has no complete trial: {why}"


def _ensemble(findings: Findings) -> Iterator[str]:
    """Say where a single model does as well as the ensemble."""
    pair = findings.pair
    if pair and findings.choice is pair[0] and len(findings.members) > 1:
        yield f"The ensemble is no better than {pair[0].name} alone on the validation rows"
