"""``run``: one run of a benchmark, or one for each of its tasks and seeds."""

import argparse
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from fmnist_bench.cli.arguments import DATA, IMPORTS, MLRUNS, READING, add_verb
from fmnist_bench.cli.streams import columns, painted, say_first, say_no_more

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmnist_bench.cli.arguments import Verbs
    from fmnist_bench.progress.displays import Progress
    from fmnist_bench.report.findings import Findings
    from fmnist_bench.runner.outcome import Outcome

OF_A_RUN = (
    *("budget", "trials", "seed", "fresh", "data", "mlruns", "workers", "cluster", "tracking_uri", "allow_import"),
    *("weights", "max_latency", "refit", "resize", "skip_unreadable", "started"),
)


def add_verbs(verbs: "Verbs") -> None:
    """Declare ``run``."""
    run = add_verb(verbs, "run", _run, "run a benchmark, or go on with it", [DATA, READING, MLRUNS, IMPORTS])
    run.add_argument("name", metavar="NAME", help="a benchmark, a study, or the path of a TOML file")
    run.add_argument("--budget", metavar="TIME", help="wall-clock time of a run, such as 90s, 10m, 2h")
    run.add_argument("--trials", type=int, metavar="N", help="N trials of each study instead of a time: repeatable")
    run.add_argument("--workers", default="auto", metavar="N", help="trials side by side (default: auto)")
    run.add_argument("--cluster", default="", metavar="ADDRESS", help="run the trials on this Dask cluster")
    run.add_argument("--tracking-uri", default="", metavar="URI", help="log to this MLflow store, such as a server's")
    run.add_argument("--weights", metavar="DIR", help="folder with files of pretrained weights")
    run.add_argument("--max-latency", type=float, metavar="MS", help="milliseconds a row that the ensemble may take")
    run.add_argument("--refit", metavar="WHAT", help="no: nothing learns from validation rows (default: networks)")
    run.add_argument("--seed", type=int, metavar="N", help="seed of split, search and models")
    run.add_argument("--seeds", type=int, metavar="N", help="N runs of each task, each with its budget and seed")
    run.add_argument("--fresh", action="store_true", help="begin a new run; earlier results stay")
    shown = run.add_mutually_exclusive_group()
    shown.add_argument("--quiet", action="store_true", help="print the result alone")
    shown.add_argument("--json", action="store_true", help="print one JSON object for each event (see: schema event)")


def _run(options: argparse.Namespace) -> int:
    if not (options.quiet or options.json):
        say_first(f"{options.name}: loading the libraries, then the data")
    from fmnist_bench.config.loader import is_suite
    from fmnist_bench.progress.displays import make_progress
    from fmnist_bench.runner import run_benchmark

    make = partial(make_progress, quiet=options.quiet, as_json=options.json, transient=True)
    given = {name: getattr(options, name) for name in OF_A_RUN}
    if is_suite(options.name, options.seeds):
        return _run_suite(options, make, given)
    outcome = run_benchmark(options.name, progress=(progress := make()), **given)
    return _tell(options, outcome, progress)


def _run_suite(options: argparse.Namespace, make: "Callable[[], Progress]", given: dict[str, Any]) -> int:
    from fmnist_bench.report.compare_page import terminal_table
    from fmnist_bench.suite import run_suite

    statuses: list[int] = []
    found = run_suite(
        options.name,
        seeds=options.seeds,
        progress=make,
        told=lambda outcome, progress: statuses.append(_tell(options, outcome, progress)),
        **given,
    )
    if not options.json:
        print(terminal_table(found.comparison, shutil.get_terminal_size().columns))
        print(f"Comparison: {found.page}")
    if found.stopped:
        n = len(found.folders)
        print(f"stopped at run {n} of {found.n_runs}; the same command goes on from here", file=sys.stderr)
    return max(statuses, default=0)


def _tell(options: argparse.Namespace, outcome: "Outcome", progress: "Progress") -> int:
    try:
        if options.json:
            progress.result(outcome.summary())
        else:
            return show(outcome.findings, f"{outcome.seconds:.0f} s used in all")
    except BrokenPipeError:  # the run is done, whoever knows
        say_no_more()
    return status(outcome.findings)


def show(findings: "Findings", closing: str) -> int:
    """Print the leaderboard and where everything is; return the exit status."""
    from fmnist_bench.report.render import terminal_leaderboard

    choice = findings.choice.name if findings.choice else None
    for line in terminal_leaderboard(findings, columns()).splitlines():
        print(painted(line, "bold") if line.split()[0] == choice else line)
    for label, value in findings.how_to_open.items():
        print(f"{label + ':':<10} {value}")
    print(closing)
    return status(findings)


def status(findings: "Findings") -> int:
    """Return 0 where the run has an ensemble; else say that it has none, and return 1."""
    if findings.ensemble is None:
        print("error: no trial was complete, so there is no ensemble; the report says why", file=sys.stderr)
        return 1
    return 0
