"""The verbs of the command line; what they do is elsewhere."""

import argparse
import errno
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench.config.schemas import NAMES, schema

if TYPE_CHECKING:
    from fmnist_bench.report.findings import Findings

EXAMPLES = """
examples:
  python -m fmnist_bench run all                 every family, 30 minutes
  python -m fmnist_bench run all --budget 2h     go on with the same run, to two hours in all
  python -m fmnist_bench run cnn-4conv           one configuration of one study
  python -m fmnist_bench ui                      look at every trial in the browser
  python -m fmnist_bench doctor                  what is here, what is missing, what to do
"""


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
    options = _parser().parse_args(arguments)
    if arguments is None:  # this process is the program's own
        warnings.formatwarning = _warning_in_one_line
    if not getattr(options, "quiet", False):
        _show_messages()
    try:
        return int(options.verb(options, started))
    except KeyboardInterrupt:
        print("stopped" + ("; the same command goes on from here" if options.verb is _run else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as by `| head`; what is left to say has nobody to read it
        _say_no_more()
        if options.verb is not _run:
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m fmnist_bench",
        description="AutoML benchmark for Fashion-MNIST and data shaped like it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = _Parser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the trace of an error")
    mlruns = _Parser(add_help=False)
    mlruns.add_argument("--mlruns", default="mlruns", metavar="DIR", help="folder of all results (default: mlruns)")
    imports = _Parser(add_help=False)
    imports.add_argument(
        "--allow-import",
        action="append",
        default=[],
        metavar="PREFIX",
        help="let studies name classes of this package too, such as my_package (runs its code)",
    )
    data = _Parser(add_help=False)
    data.add_argument(
        "--data", metavar="DATA", help="digits, an .npz, a CSV or Parquet table, a folder (Fashion-MNIST's or others)"
    )
    files = _Parser(add_help=False)
    files.add_argument("--data", metavar="DIR", help="folder with Fashion-MNIST's four files")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    run = verbs.add_parser("run", parents=[data, mlruns, imports, shared], help="run a benchmark, or go on with it")
    _declare_run(run)
    run.set_defaults(verb=_run)

    report = verbs.add_parser("report", parents=[mlruns, imports, shared], help="write the newest run's report again")
    report.add_argument("name", metavar="NAME", help="the benchmark")
    report.add_argument("--markdown", metavar="FILE", help="write the Markdown report here as well")
    report.set_defaults(verb=_report)

    predict = verbs.add_parser("predict", parents=[mlruns, imports, shared], help="classify images")
    predict.add_argument(
        "images", nargs="+", metavar="IMAGES", help="PNG or JPEG files, folders of them, .npz files of images"
    )
    predict.add_argument("--ensemble", metavar="DIR", help="a saved ensemble (default: the newest in --mlruns)")
    predict.add_argument("--format", default="table", choices=("table", "csv", "json"), help="default: table")
    predict.set_defaults(verb=_predict)

    ui = verbs.add_parser("ui", parents=[mlruns, shared], help="start the MLflow UI on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000, help="port (default: 5000)")
    ui.set_defaults(verb=_ui)

    serve = verbs.add_parser("serve", parents=[mlruns, shared], help="serve a registered ensemble on 127.0.0.1")
    serve.add_argument(
        "model",
        nargs="?",
        default="fmnist-ensemble@champion",
        metavar="MODEL",
        help="NAME@ALIAS or NAME/VERSION (default: fmnist-ensemble@champion)",
    )
    serve.add_argument("--port", type=int, default=5001, help="port (default: 5001)")
    serve.add_argument("--tracking-uri", default="", metavar="URI", help="take it from this MLflow store")
    serve.set_defaults(verb=_serve)

    listing = verbs.add_parser("list", parents=[shared], help="show benchmarks, and studies with their spaces")
    listing.set_defaults(verb=_list)

    check = verbs.add_parser("check", parents=[data, imports, shared], help="build everything, train nothing")
    check.add_argument("name", metavar="NAME", help="a benchmark, a study, or the path of a TOML file")
    check.set_defaults(verb=_check)

    show = verbs.add_parser("data", parents=[files, shared], help="fetch, verify and show a data set")
    show.add_argument(
        "name", nargs="?", default="fashion-mnist", metavar="NAME", help="fashion-mnist, digits or a path"
    )
    show.set_defaults(verb=_data)

    doctor = verbs.add_parser("doctor", parents=[files, mlruns, shared], help="say what a run would find here")
    doctor.add_argument("--weights", metavar="DIR", help="folder with files of pretrained weights")
    doctor.add_argument("--json", action="store_true", help="print one JSON object for each check")
    doctor.set_defaults(verb=_doctor)

    described = verbs.add_parser("schema", parents=[shared], help="print the JSON Schema of what is written or read")
    described.add_argument("name", choices=NAMES, help="a study's file, a benchmark's file, or a line of run --json")
    described.set_defaults(verb=_schema)
    return parser


def _declare_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("name", metavar="NAME", help="a benchmark, a study, or the path of a TOML file")
    run.add_argument("--budget", metavar="TIME", help="wall-clock time for everything, such as 90s, 10m, 2h")
    run.add_argument("--trials", type=int, metavar="N", help="N trials of each study instead of a time: repeatable")
    run.add_argument("--workers", default="auto", metavar="N", help="trials side by side (default: auto)")
    run.add_argument("--cluster", default="", metavar="ADDRESS", help="run the trials on this Dask cluster")
    run.add_argument("--tracking-uri", default="", metavar="URI", help="log to this MLflow store, such as a server's")
    run.add_argument("--weights", metavar="DIR", help="folder with files of pretrained weights")
    run.add_argument("--max-latency", type=float, metavar="MS", help="milliseconds a row that the ensemble may take")
    run.add_argument("--seed", type=int, metavar="N", help="seed of split, search and models")
    run.add_argument("--fresh", action="store_true", help="begin a new run; earlier results stay")
    shown = run.add_mutually_exclusive_group()
    shown.add_argument("--quiet", action="store_true", help="print the result alone")
    shown.add_argument("--json", action="store_true", help="print one JSON object for each event (see: schema event)")


def _run(options: argparse.Namespace, started: float) -> int:
    from fmnist_bench.progress.displays import make_progress
    from fmnist_bench.runner import run_benchmark

    progress = make_progress(quiet=options.quiet, as_json=options.json)
    outcome = run_benchmark(
        options.name,
        budget=options.budget,
        trials=options.trials,
        seed=options.seed,
        fresh=options.fresh,
        data=options.data,
        mlruns=options.mlruns,
        workers=options.workers,
        cluster=options.cluster,
        tracking_uri=options.tracking_uri,
        allow_import=options.allow_import,
        weights=options.weights,
        max_latency=options.max_latency,
        progress=progress,
        started=started,
    )
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
    from fmnist_bench.data.dataset import describe

    print(describe(options.name, options.data))
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
