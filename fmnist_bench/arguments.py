"""What the command line takes: verbs, their arguments, their help; `cli` carries them out."""

import argparse
from typing import NoReturn

from fmnist_bench.config.schemas import NAMES

EXAMPLES = """
examples:
  python -m fmnist_bench run all                 every family, 30 minutes
  python -m fmnist_bench run all --budget 2h     go on with the same run, to two hours in all
  python -m fmnist_bench run cnn-4conv           one configuration of one study
  python -m fmnist_bench ui                      look at every trial in the browser
  python -m fmnist_bench doctor                  what is here, what is missing, what to do
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line; ``verb`` of what it reads is the name of the verb."""
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
        "--data", metavar="DATA", help="a name such as digits or openml:554, a folder, an .npz, a CSV or Parquet table"
    )
    reading = _Parser(add_help=False)
    reading.add_argument("--resize", type=int, metavar="N", help="bring all images to N x N pixels")
    reading.add_argument("--skip-unreadable", action="store_true", help="leave out image files that cannot be read")
    files = _Parser(add_help=False)
    files.add_argument("--data", metavar="DIR", help="folder with Fashion-MNIST's four files")
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")

    of_run = [data, reading, mlruns, imports, shared]
    run = verbs.add_parser("run", parents=of_run, help="run a benchmark, or go on with it")
    _declare_run(run)

    report = verbs.add_parser("report", parents=[mlruns, imports, shared], help="write the newest run's report again")
    _declare_report(report)

    compare = verbs.add_parser("compare", parents=[mlruns, shared], help="set runs beside each other")
    _declare_compare(compare)

    ensemble = verbs.add_parser("ensemble", parents=[mlruns, imports, shared], help="choose a run's ensemble again")
    _declare_ensemble(ensemble)

    predict = verbs.add_parser("predict", parents=[mlruns, imports, shared], help="classify images")
    _declare_predict(predict)

    ui = verbs.add_parser("ui", parents=[mlruns, shared], help="start the MLflow UI on 127.0.0.1")
    ui.add_argument("--port", type=int, default=5000, help="port (default: 5000)")

    serve = verbs.add_parser("serve", parents=[mlruns, shared], help="serve a registered ensemble on 127.0.0.1")
    _declare_serve(serve)

    verbs.add_parser("list", parents=[shared], help="show benchmarks, and studies with their spaces")

    check = verbs.add_parser("check", parents=[data, imports, shared], help="build everything, train nothing")
    check.add_argument("name", metavar="NAME", help="a benchmark, a study, or the path of a TOML file")

    show = verbs.add_parser("data", parents=[files, reading, shared], help="fetch, verify and show a data set")
    _declare_data(show)

    doctor = verbs.add_parser("doctor", parents=[files, mlruns, shared], help="say what a run would find here")
    doctor.add_argument("--weights", metavar="DIR", help="folder with files of pretrained weights")
    doctor.add_argument("--json", action="store_true", help="print one JSON object for each check")

    described = verbs.add_parser("schema", parents=[shared], help="print the JSON Schema of what is written or read")
    described.add_argument("name", choices=NAMES, help="a study's file, a benchmark's file, or a line of run --json")
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
    run.add_argument("--seeds", type=int, metavar="N", help="N runs, each with its budget and a seed of its own")
    run.add_argument("--fresh", action="store_true", help="begin a new run; earlier results stay")
    shown = run.add_mutually_exclusive_group()
    shown.add_argument("--quiet", action="store_true", help="print the result alone")
    shown.add_argument("--json", action="store_true", help="print one JSON object for each event (see: schema event)")


def _declare_ensemble(ensemble: argparse.ArgumentParser) -> None:
    ensemble.add_argument("run", metavar="RUN", help="folder of a run, or a benchmark (its newest run)")
    ensemble.add_argument(
        "--method", default="greedy", metavar="METHOD", help="greedy, logistic or mean (default: greedy)"
    )
    ensemble.add_argument("--max-latency", type=float, metavar="MS", help="milliseconds a row that it may take")
    ensemble.add_argument("--studies", default="", metavar="A,B", help="take trials of these studies alone")
    ensemble.add_argument(
        "--every-trial", action="store_true", help="offer trials whose models were not kept, too: what if"
    )
    ensemble.add_argument("--save", metavar="DIR", help="save it there (default: write nothing)")
    ensemble.add_argument(
        "--open-test-set", action="store_true", help="show its test score, which the run's record counts"
    )


def _declare_report(report: argparse.ArgumentParser) -> None:
    report.add_argument("name", metavar="NAME", help="the benchmark")
    report.add_argument("--markdown", metavar="FILE", help="write the Markdown report here as well")
    report.add_argument(
        "--format",
        default="table",
        choices=("table", "html", "md", "csv", "latex"),
        help="print the leaderboard as a table (default), CSV or LaTeX, or the report",
    )


def _declare_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="folder of a run, folder of results, benchmark, or a file of --csv (default: all in --mlruns)",
    )
    for form, what in (("markdown", "Markdown"), ("csv", "CSV"), ("html", "one HTML page")):
        compare.add_argument(f"--{form}", metavar="FILE", help=f"write it as {what}")


def _declare_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "images", nargs="+", metavar="IMAGES", help="PNG or JPEG files, folders of them, .npz files of images"
    )
    predict.add_argument("--ensemble", metavar="DIR", help="a saved ensemble (default: the newest in --mlruns)")
    predict.add_argument("--format", default="table", choices=("table", "csv", "json"), help="default: table")


def _declare_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "model",
        nargs="?",
        default="fmnist-ensemble@champion",
        metavar="MODEL",
        help="NAME@ALIAS or NAME/VERSION (default: fmnist-ensemble@champion)",
    )
    serve.add_argument("--port", type=int, default=5001, help="port (default: 5001)")
    serve.add_argument("--tracking-uri", default="", metavar="URI", help="take it from this MLflow store")


def _declare_data(show: argparse.ArgumentParser) -> None:
    show.add_argument(
        "name",
        nargs="?",
        default="fashion-mnist",
        metavar="NAME",
        help="fashion-mnist (default), another name, openml:NUMBER or a path",
    )
    show.add_argument("--near", action="store_true", help="count test images that are nearly train images")
