"""What to do next: what more time may bring, studies that had too little, ranges that are too narrow."""

import math
from collections.abc import Iterator

from fmnist_bench.report.contestant import Contestant
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.so_far import errors_in_time
from fmnist_bench.storage.results import NO_WEIGHTS

LEAST_GAIN = 0.05  # points that are worth a word


def next_steps(findings: Findings) -> list[str]:
    """Give a line for each thing that a longer run, a wider range or another file may change."""
    return [
        *_more_time(findings),
        *_starved(findings),
        *_without(findings),
        *_edges(findings),
        *_ensemble(findings),
    ]


def _more_time(findings: Findings) -> Iterator[str]:
    """Say what twice the time may bring at most, by the run's own curve: gains shrink as errors do."""
    if not findings.so_far:
        return
    errors = errors_in_time(findings.so_far, max(trial.ended for trial in findings.trials))
    if errors is None:
        yield "What more time may bring cannot be told: there was no ensemble yet when half of the time had passed"
        return
    half, end = errors
    gain = 100 * end * (1 - end / half) if half > end else 0.0
    most = f"at most about {gain:.1f} points" if gain >= LEAST_GAIN else "hardly anything"
    yield f"Twice the time may bring {most}: from half of the time to its end, errors on validation rows went from " + (
        f"{100 * half:.2f} to {100 * end:.2f} %, and gains shrink. How much they shrink cannot be told from one run"
    )


def _edges(findings: Findings) -> Iterator[str]:
    """Name best values at the edge of their ranges: better ones may lie beyond."""
    for who in findings.contestants:
        ranges = findings.ranges.get(who.name, {})
        found = [
            f"{name.rpartition('__')[2]} = {who.parameters[name]:g} ({low:g} to {high:g})"
            for name, (low, high) in ranges.items()
            if _is_at(who, name, low) or _is_at(who, name, high)
        ]
        if found:
            yield f"{who.name}: a better value may lie beyond the edge of its range: {', '.join(found)}"


def _is_at(who: Contestant, name: str, end: float) -> bool:
    value = who.parameters.get(name)
    return end != 0 and isinstance(value, int | float) and math.isclose(value, end, rel_tol=1e-3)  # 0 is a natural end


def _starved(findings: Findings) -> Iterator[str]:
    """Name studies whose best trial did not learn from all train rows."""
    shares = {who.name: who.learnt_from for who in findings.contestants}
    if found := [f"{name} ({share:.0%})".replace("%", " %") for name, share in shares.items() if share < 1]:
        yield f"Learnt from a part of the train rows, and may do better: {', '.join(found)}"


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
