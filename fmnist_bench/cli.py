"""The verbs of the command line; what they do is elsewhere."""

import argparse
import errno
import json
import logging
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.arguments import make_parser
from fmnist_bench.config.schemas import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmnist_bench.progress.displays import Progress
    from fmnist_bench.report.findings import Findings
    from fmnist_bench.runner import Outcome

OF_A_RUN = (
    *("budget", "trials", "seed", "fresh", "data", "mlruns", "workers", "cluster", "tracking_uri", "allow_import"),
    *("weights", "max_latency", "resize", "skip_unreadable"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        Exit status: 0, or 1 where no trial was complete, `doctor` found a problem or nobody read on what `run` had to
        say, or 2 where something given cannot
        be used, or 70 after a fault of this program, or 130 after Ctrl-C.
    """
    started = time.monotonic()
    _open_closed_streams()
    options = make_parser().parse_args(arguments)
    if arguments is None:  # this process is the program's own
        warnings.formatwarning = _warning_in_one_line
    if not getattr(options, "quiet", False):
        _show_messages()
    try:
        return int(VERBS[options.verb](options, started))
    except KeyboardInterrupt:
        print("stopped" + ("; the same command goes on from here" if options.verb == "run" else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as by `| head`; what is left to say has nobody to read it
        _say_no_more()
        if options.verb != "run":
            return 0
        print("stopped: the reader of the output is gone; the same command continues", file=sys.stderr)
        return 1
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        status, message = _in_one_line(error)
        print(f"error: {message}", file=sys.stderr)
        return status


def _open_closed_streams() -> None:
    """Open standard streams that are closed (``>&-``) to nowhere; else the next file opened would take their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _say_no_more() -> None:
    """Send what is left to say nowhere; Python itself would complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_messages() -> None:
    """Let the package say where it looks for data and what it downloads."""
    logger = logging.getLogger("fmnist_bench")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())


def _warning_in_one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Show what is said to the user without the line of the program that says it; other warnings with it."""
    where = "" if category is UserWarning else f" ({category.__name__}, {filename}, line {lineno})"
    return f"warning: {one_line(message)}{where}\n"


def _in_one_line(error: Exception) -> tuple[int, str]:
    """Exit status and message of an error; the trace of one that nobody foresaw goes into a file."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return 2, f"{error.filename or 'disk'}: {error.strerror}; python -m fmnist_bench doctor checks the disk"
    import tempfile

    with tempfile.NamedTemporaryFile("w", prefix="fmnist_bench-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    what = one_line(f"{type(error).__name__}: {error}")
    return 70, f"{what}; a bug in fmnist_bench; its trace is in {file.name}, --debug prints it"


def _run(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.progress.displays import make_progress
    from fmnist_bench.runner import run_benchmark

    make = partial(make_progress, quiet=options.quiet, as_json=options.json)
    given = {name: getattr(options, name) for name in OF_A_RUN} | {"started": started}
    if options.seeds is not None:
        return _run_seeds(options, make, given)
    outcome = run_benchmark(options.name, progress=(progress := make()), **given)
    return _tell(options, outcome, progress)


def _run_seeds(options: argparse.Namespace, make: "Callable[[], Progress]", given: dict[str, Any]) -> int:
    from fmnist_bench.repeats import run_seeds
    from fmnist_bench.report.compare_page import terminal_table

    statuses: list[int] = []
    found = run_seeds(
        options.name,
        options.seeds,
        progress=make,
        told=lambda outcome, progress: statuses.append(_tell(options, outcome, progress)),
        **given,
    )
    if not options.json:
        print(terminal_table(found.comparison, shutil.get_terminal_size().columns))
        print(f"Comparison: {found.page}")
    if found.stopped:
        n = len(found.folders)
        print(f"stopped at run {n} of {options.seeds}; the same command goes on from here", file=sys.stderr)
    return max(statuses, default=0)


def _tell(options: argparse.Namespace, outcome: "Outcome", progress: "Progress") -> int:
    try:
        if options.json:
            progress.result(outcome.summary())
        else:
            return _show(outcome.findings, f"{outcome.seconds:.0f} s used in all")
    except BrokenPipeError:  # the run is done, whoever knows
        _say_no_more()
    return _status(outcome.findings)


def _report(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.runner import rewrite_report

    findings = rewrite_report(options.name, options.mlruns, options.allow_import, options.markdown)
    if options.format != "table":
        from fmnist_bench.automl.results import load_run

        print(load_run(options.name, options.mlruns).as_text(options.format).rstrip())
        return _status(findings)
    return _show(findings, f"made in {time.monotonic() - started:.0f} s")


def _show(findings: "Findings", closing: str) -> int:
    from fmnist_bench.report.render import terminal_leaderboard

    print(terminal_leaderboard(findings))
    for label, value in findings.how_to_open.items():
        print(f"{label + ':':<10} {value}")
    print(closing)
    return _status(findings)


def _status(findings: "Findings") -> int:
    if findings.ensemble is None:
        print("error: no trial was complete, so there is no ensemble; the report says why", file=sys.stderr)
        return 1
    return 0


def _compare(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench._utils.environment import command
    from fmnist_bench.report.compare import compare_runs
    from fmnist_bench.report.compare_page import SUFFIXES, check_targets, terminal_table, write_pages

    targets = check_targets({form: getattr(options, form) for form in SUFFIXES})
    found = compare_runs(options.runs, options.mlruns)
    write_pages(found, targets, command())
    print(terminal_table(found, shutil.get_terminal_size().columns))
    return 0


def _ensemble(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.report.rechosen import rechoose

    said = rechoose(
        options.run,
        options.mlruns,
        method=options.method,
        max_latency=options.max_latency,
        studies=[study.strip() for study in options.studies.split(",") if study.strip()],
        every_trial=options.every_trial,
        save=options.save,
        open_test=options.open_test_set,
        allow_import=options.allow_import,
    )
    print(said)
    return 0


def _predict(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.ensemble.predict import as_text, predict_images

    table = predict_images(options.images, options.ensemble, options.mlruns, options.allow_import)
    print(f"Ensemble: {table.attrs['ensemble']}", file=sys.stderr)
    print(as_text(table, options.format))
    return 0


def _ui(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.tracking.servers import first_page, ui_command

    command, environment = ui_command(options.mlruns, options.port)
    page = f"http://127.0.0.1:{options.port}/{first_page(options.mlruns)}"
    print(f"MLflow UI on {page} (Ctrl-C ends it)", flush=True)
    os.execve(command[0], command, environment)


def _serve(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.tracking.servers import check_registered, serve_command

    command, environment = serve_command(options.model, options.mlruns, options.tracking_uri, options.port)
    check_registered(options.model, environment["MLFLOW_TRACKING_URI"])
    print(f"{options.model} on http://127.0.0.1:{options.port}/invocations (Ctrl-C ends it)", flush=True)
    os.execve(command[0], command, environment)


def _list(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.config.loader import describe_all

    print(describe_all())
    return 0


def _check(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.runner import check_benchmark

    print(check_benchmark(options.name, options.data, options.allow_import))
    return 0


def _data(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.data.describe import describe

    reading = {"resize": options.resize, "skip_unreadable": options.skip_unreadable}
    print(describe(options.name, options.data, near=options.near, **reading))
    return 0


def _doctor(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.doctor import as_text, examine

    n_problems = 0
    for check in examine(options.mlruns, options.data, options.weights):
        print(as_text(check, options.json), flush=True)
        n_problems += check.status == "problem"
    return 1 if n_problems else 0


def _schema(options: argparse.Namespace, started: float) -> int:
    print(json.dumps(schema(options.name), indent=2, ensure_ascii=False))
    return 0


VERBS = {
    "run": _run,
    "report": _report,
    "compare": _compare,
    "ensemble": _ensemble,
    "predict": _predict,
    "ui": _ui,
    "serve": _serve,
    "list": _list,
    "check": _check,
    "data": _data,
    "doctor": _doctor,
    "schema": _schema,
}
