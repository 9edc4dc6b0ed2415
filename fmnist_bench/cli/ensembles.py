"""``ensemble``, ``predict``, ``serve``, ``export``: choose an ensemble again, and use it."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from fmnist_bench.cli.arguments import IMPORTS, MLRUNS, add_verb
from fmnist_bench.cli.streams import say_first

if TYPE_CHECKING:
    from fmnist_bench.cli.arguments import Verbs


def add_verbs(verbs: "Verbs") -> None:
    """Declare ``ensemble``, ``predict``, ``serve`` and ``export``."""
    ensemble = add_verb(verbs, "ensemble", _ensemble, "choose a run's ensemble again", [MLRUNS, IMPORTS])
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

    predict = add_verb(verbs, "predict", _predict, "classify images", [MLRUNS, IMPORTS])
    predict.add_argument(
        "images", nargs="+", metavar="IMAGES", help="PNG or JPEG files, folders of them, .npz files or tables"
    )
    which = predict.add_mutually_exclusive_group()
    which.add_argument(
        "--ensemble", metavar="DIR", help="a saved ensemble (default: the newest in --mlruns, or the pretrained one)"
    )
    which.add_argument("--pretrained", metavar="NAME", help="what comes with the package: ensemble or network")
    predict.add_argument("--format", default="table", choices=("table", "csv", "json"), help="default: table")

    serve = add_verb(verbs, "serve", _serve, "serve a registered ensemble on 127.0.0.1", [MLRUNS])
    serve.add_argument(
        "model",
        nargs="?",
        default="fmnist-ensemble@champion",
        metavar="MODEL",
        help="NAME@ALIAS or NAME/VERSION (default: fmnist-ensemble@champion)",
    )
    serve.add_argument("--port", type=int, default=5001, help="port (default: 5001)")
    serve.add_argument("--tracking-uri", default="", metavar="URI", help="take it from this MLflow store")

    export = add_verb(verbs, "export", _export, "write a run's ensemble as one file", [MLRUNS, IMPORTS])
    export.add_argument("run", metavar="RUN", help="folder of a run or ensemble, or a benchmark (its newest run)")
    export.add_argument("--format", default="onnx", choices=("onnx",), help="default: onnx")
    export.add_argument("--drop", nargs="+", default=[], metavar="MEMBER", help="members to leave out")
    export.add_argument("--out", metavar="FILE", help="file to write (default: ensemble.onnx in the run's folder)")


def _ensemble(options: argparse.Namespace) -> int:
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


def _predict(options: argparse.Namespace) -> int:
    say_first("loading the ensemble")
    from fmnist_bench.ensemble.predict import as_text, predict_images

    table = predict_images(options.images, options.ensemble, options.mlruns, options.allow_import, options.pretrained)
    print(f"Ensemble: {table.attrs['ensemble']}", file=sys.stderr)
    print(as_text(table, options.format))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from fmnist_bench.tracking.servers import check_registered, serve_command

    command, environment = serve_command(options.model, options.mlruns, options.tracking_uri, options.port)
    check_registered(options.model, environment["MLFLOW_TRACKING_URI"])
    print(f"{options.model}: loading", flush=True)
    os.execve(command[0], command, environment)


def _export(options: argparse.Namespace) -> int:
    from fmnist_bench.export.verb import export_run

    for line in export_run(
        options.run, options.mlruns, drop=options.drop, out=options.out, allow_import=options.allow_import
    ):
        print(line, flush=True)
    return 0
