"""``report``, ``compare``, ``ui``: look at what runs have left."""

import argparse
import shutil
import time
from typing import TYPE_CHECKING

from fmnist_bench.cli.arguments import IMPORTS, MLRUNS, add_verb
from fmnist_bench.cli.run import show, status

if TYPE_CHECKING:
    from fmnist_bench.cli.arguments import Verbs


def add_verbs(verbs: "Verbs") -> None:
    """Declare ``report``, ``compare`` and ``ui``."""
    report = add_verb(verbs, "report", _report, "write a run's report again", [MLRUNS, IMPORTS])
    report.add_argument("name", metavar="RUN", help="folder of a run, or a benchmark (its newest run)")
    report.add_argument("--markdown", metavar="FILE", help="write the Markdown report here as well")
    report.add_argument(
        "--format",
        default="table",
        choices=("table", "html", "md", "csv", "latex"),
        help="print the leaderboard as a table (default), CSV or LaTeX, or the report",
    )

    compare = add_verb(verbs, "compare", _compare, "set runs beside each other", [MLRUNS])
    compare.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="folder of a run, folder of results, benchmark, or a file of --csv (default: all in --mlruns)",
    )
    for form, what in (("markdown", "it as Markdown"), ("csv", "its runs as CSV"), ("html", "it as one HTML page")):
        compare.add_argument(f"--{form}", metavar="FILE", help=f"write {what}")
    compare.add_argument("--families", metavar="FILE", help="write what each family reached in each run as CSV")

    ui = add_verb(verbs, "ui", _ui, "start the MLflow UI on 127.0.0.1", [MLRUNS])
    ui.add_argument("--port", type=int, default=5000, help="port (default: 5000)")


def _report(options: argparse.Namespace) -> int:
    from fmnist_bench.runner import rewrite_report

    findings = rewrite_report(options.name, options.mlruns, options.allow_import, options.markdown)
    if options.format != "table":
        from fmnist_bench.automl.results import load_run

        print(load_run(options.name, options.mlruns).as_text(options.format).rstrip())
        return status(findings)
    return show(findings, f"made in {time.monotonic() - options.started:.0f} s")


def _compare(options: argparse.Namespace) -> int:
    from fmnist_bench._utils.environment import command
    from fmnist_bench.report.compare import compare_runs
    from fmnist_bench.report.compare_page import SUFFIXES, check_targets, terminal_table, write_pages

    targets = check_targets({form: getattr(options, form) for form in SUFFIXES})
    found = compare_runs(options.runs, options.mlruns)
    write_pages(found, targets, command())
    print(terminal_table(found, shutil.get_terminal_size().columns))
    return 0


def _ui(options: argparse.Namespace) -> int:
    from fmnist_bench.tracking.servers import first_page, run_server, ui_command

    command, environment = ui_command(options.mlruns, options.port)
    page = f"http://127.0.0.1:{options.port}/{first_page(options.mlruns)}"
    print(f"MLflow UI on {page} (Ctrl-C ends it)", flush=True)
    return run_server(command, environment)
