"""What a run keeps of its test figures, so that runs are compared without opening the test rows again."""

from typing import Any

import numpy as np

from fmnist_bench.report.contestant import Array, Contestant
from fmnist_bench.report.findings import Findings

SCORES = ("valid_accuracy", "test_accuracy", "test_low", "test_high", "test_log_loss", "test_calibration_error")


def kept_scores(findings: Findings, fingerprint: str) -> dict[str, Any]:
    """Give what ``run.json`` keeps under ``scores``.

    Parameters
    ----------
    findings : Findings
        After the test set was opened.
    fingerprint : str
        Of the test rows.

    Returns
    -------
    dict
        ``rows`` and ``fingerprint`` of the test rows; ``ensemble`` and ``single``, the best single model by validation
        rows, each with its name, `SCORES`, and under ``right`` one bit a test row, whether its label was found, in
        hexadecimal digits. A contestant that there is not is None. ``families`` holds the same of every study and of
        the ensemble by their names, and what they cost.
    """
    everyone = {"ensemble": findings.ensemble, "single": findings.best_single}
    scored = {role: None if who is None else _scores(findings, who) for role, who in everyone.items()}
    families = {
        who.name: {**_scores(findings, who), **_costs(findings, who)} for who in findings.everyone if who.scored
    }
    return {"rows": len(findings.y), "fingerprint": fingerprint, **scored, "families": families}


def _costs(findings: Findings, who: Contestant) -> dict[str, float]:
    costs = {"fit_seconds": who.fit_seconds, "search_seconds": who.search_seconds}
    return {name: float(value) for name, value in {**costs, "predict_ms": findings.scores(who)["predict_ms"]}.items()}


def _scores(findings: Findings, who: Contestant) -> dict[str, Any]:
    row = findings.scores(who)
    return {
        "name": who.name,
        **{key: float(row[key]) for key in SCORES},
        "right": np.packbits(who.test_pred == findings.y).tobytes().hex(),
    }


def right_rows(digits: str, n: int) -> Array:
    """Read the bits that `kept_scores` wrote: for each of `n` test rows, whether its label was found.

    Raises
    ------
    ValueError
        Where these are not the bits of `n` rows.
    """
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))
    if not n <= len(bits) < n + 8:
        raise ValueError(f"{len(bits)} bits for {n} rows")
    return bits[:n].astype(bool)
