"""``list``, ``check``, ``data``, ``doctor``, ``schema``: see what a run would work with, and train nothing."""

import argparse
import json
from typing import TYPE_CHECKING

from fmnist_bench.cli.arguments import DATA, FILES, IMPORTS, MLRUNS, READING, add_verb
from fmnist_bench.cli.streams import columns, painted
from fmnist_bench.config.schemas import NAMES, schema

if TYPE_CHECKING:
    from fmnist_bench.cli.arguments import Verbs

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def add_verbs(verbs: "Verbs") -> None:
    """Declare ``list``, ``check``, ``data``, ``doctor`` and ``schema``."""
    listed = add_verb(verbs, "list", _list, "show benchmarks and studies, or what one of them searches")
    listed.add_argument("name", nargs="?", metavar="NAME", help="a benchmark, a study, or the path of a TOML file")

    check = add_verb(verbs, "check", _check, "build everything, train nothing", [DATA, IMPORTS])
    check.add_argument("name", metavar="NAME", help="a benchmark, a study, or the path of a TOML file")

    show = add_verb(verbs, "data", _data, "fetch, verify and show a data set", [FILES, READING])
    show.add_argument(
        "name",
        nargs="?",
        default="fashion-mnist",
        metavar="NAME",
        help="fashion-mnist (default), another name, openml:NUMBER or a path",
    )
    show.add_argument("--near", action="store_true", help="count test images that are nearly train images")

    doctor = add_verb(verbs, "doctor", _doctor, "say what a run would find here", [FILES, MLRUNS])
    doctor.add_argument("--weights", metavar="DIR", help="folder with files of pretrained weights")
    doctor.add_argument("--json", action="store_true", help="print one JSON object for each check")

    described = add_verb(verbs, "schema", _schema, "print the JSON Schema of what is written or read")
    described.add_argument("name", choices=NAMES, help="a study's file, a benchmark's file, or a line of run --json")


def _list(options: argparse.Namespace) -> int:
    if options.name is None:
        from fmnist_bench.config.listing import list_all

        print(list_all(columns()))
    else:
        from fmnist_bench.config.loader import describe

        print(describe(options.name))
    return 0


def _check(options: argparse.Namespace) -> int:
    from fmnist_bench.suite import check_suite

    print(check_suite(options.name, options.data, options.allow_import))
    return 0


def _data(options: argparse.Namespace) -> int:
    from fmnist_bench.data.describe import describe

    reading = {"resize": options.resize, "skip_unreadable": options.skip_unreadable}
    print(describe(options.name, options.data, near=options.near, **reading))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from fmnist_bench.doctor import as_text, examine

    n_problems = 0
    for check in examine(options.mlruns, options.data, options.weights):
        text = as_text(check, options.json)
        print(
            text if options.json else text.replace(check.status, painted(check.status, COLOURS[check.status]), 1),
            flush=True,
        )
        n_problems += check.status == "problem"
    return 1 if n_problems else 0


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(schema(options.name), indent=2, ensure_ascii=False))
    return 0
