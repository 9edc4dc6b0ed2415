"""What a shell offers at the tab key: verbs and options, and names of benchmarks, studies, data sets and runs."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

Found = Callable[[argparse.Namespace], Iterable[str]]
PATHS = ("DIR", "FILE", "DATA", "NAME", "RUN", "IMAGES")  # what may be a path, too


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, which has said by `_ARGCOMPLETE` what was typed, and end the process."""
    import argcomplete

    offer: Any = _offer  # an instance of a class of argcomplete is wanted, and called
    argcomplete.autocomplete(parser, always_complete_options=False, default_completer=offer)


def _offer(prefix: str, action: argparse.Action, parser: argparse.ArgumentParser, **typed: Any) -> list[str]:
    """Give what an argument without choices may be; the shell shows what begins as `prefix`."""
    from argcomplete.completers import FilesCompleter

    options: argparse.Namespace = typed["parsed_args"]
    verb = parser.prog.rpartition(" ")[2]
    before, comma, _ = prefix.rpartition(",")
    names = [before + comma + name for name in NAMES.get((verb, action.dest), _nothing)(options)]
    return names + (FilesCompleter()(prefix) if action.metavar in PATHS else [])


def _nothing(_: argparse.Namespace) -> Iterable[str]:
    return ()


def _toml_files(_: argparse.Namespace) -> Iterable[str]:
    from fmnist_bench.config.files import find_files

    return {**find_files("benchmarks"), **find_files("studies")}


def _studies(_: argparse.Namespace) -> Iterable[str]:
    from fmnist_bench.config.files import find_files

    return find_files("studies")


def _data_sets(_: argparse.Namespace) -> Iterable[str]:
    from fmnist_bench.data.registry import entries

    return entries()


def _runs(options: argparse.Namespace) -> Iterable[str]:
    from fmnist_bench.storage.find_runs import run_names

    return run_names(options.mlruns)


NAMES: dict[tuple[str, str], Found] = {
    **dict.fromkeys([("run", "name"), ("list", "name"), ("check", "name")], _toml_files),
    **dict.fromkeys([("report", "name"), ("compare", "runs"), ("ensemble", "run"), ("export", "run")], _runs),
    **dict.fromkeys([("data", "name"), ("run", "data"), ("check", "data")], _data_sets),
    ("ensemble", "studies"): _studies,
}
