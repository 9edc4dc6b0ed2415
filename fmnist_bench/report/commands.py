"""The commands that a report names: to look at the run, to use its models, to go on with it."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench.config.study import DISTILLED
from fmnist_bench.report.findings import Findings
from fmnist_bench.storage.run_folder import MANIFEST, Run


def how_to_open(run: Run, findings: Findings) -> dict[str, str]:
    """Say how to look at a run, and how to load its ensemble and its best single model."""
    found = {
        "Report": _short(run.folder / "report.html"),
        "MLflow": run.state.get("tracking_uri") or f"python -m fmnist_bench ui --mlruns {_short(run.store.folder)}",
        **serve_hint(_registered(run), _short(run.store.folder), run.state.get("tracking_uri", "")),
    }
    if run.state.get("members"):
        found["Ensemble"] = f'fmnist_bench.load_ensemble("{_short(run.ensemble_folder)}")'
    if (run.folder / DISTILLED / MANIFEST).is_file():
        found["Distilled network"] = f'fmnist_bench.load_ensemble("{_short(run.folder / DISTILLED)}")'
    if (single := findings.best_single) and single.trial is not None:
        found["Best single model"] = f'fmnist_bench.load_model("{_short(run.model_file(single.name, single.trial))}")'
    return found


def how_to_go_on(run: Run) -> dict[str, str]:
    """Say how to go on with a run of the command line, and how to read all that it knows."""
    budget, command = run.state.get("budget"), str(run.state.get("command", ""))
    found: dict[str, str] = {}
    if budget and not run.state.get("trials") and command.startswith("python -m fmnist_bench run "):
        again = re.sub(r" --(fresh|budget[ =]\S+)(?= |$)", "", command)
        found["Go on, to twice the time"] = f"{again} --budget {_written(2 * budget)}"
    return found | {"Tables and figures of this run": f'fmnist_bench.load_run("{_short(run.folder)}")'}


def _written(seconds: float) -> str:
    """Write a budget as it is given."""
    return f"{seconds / 60:g}m" if seconds % 60 == 0 else f"{seconds:g}s"


def _registered(run: Run) -> dict[str, Any] | None:
    """What is known of the registered ensemble, if it is the one that is saved."""
    known, manifest = run.state.get("registered"), run.ensemble_folder / MANIFEST
    if known is None or not manifest.exists():
        return None
    return dict(known) if known.get("manifest") == digest_of_file(manifest) else None


def _short(path: Path) -> str:
    """Give the path as seen from the working directory, where it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def serve_hint(registered: Mapping[str, Any] | None, mlruns: str, tracking_uri: str) -> dict[str, str]:
    """Give the command that serves the ensemble of a run, under its label; nothing where it is not registered."""
    if not registered:
        return {}
    option, place = ("--tracking-uri", tracking_uri) if tracking_uri else ("--mlruns", mlruns)
    return {"Serve": shlex.join(["python", "-m", "fmnist_bench", "serve", registered["model"], option, place])}
