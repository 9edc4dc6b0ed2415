"""The campaign's mutations: inputs of every kind, changed at random; each works or is refused in one line."""

import contextlib
import io
import os
import random
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _campaign import STUDIES, Tried, told, write_files
from _mutated_files import change_bytes, make_data, make_manifest, save_ensemble
from _mutated_toml import make_toml, texts

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import program
from fmnist_bench.config.loader import load_benchmark
from fmnist_bench.runner.arguments import with_overrides, worker_count

LONGEST = 20  # seconds that one input may take
SHARES = {"toml": 0.5, "data": 0.2, "manifest": 0.2, "line": 0.1}  # of all mutations
SHOWN = 300  # characters of an input that failed
WORDS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "²",
        "१",
        "1e3",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "None",
        "auto",
        "AUTO",
        "9" * 5000,
        "1h30",
    ),
    *("90s", "10m", "2h", "1h30m", "1h-3m", "1 h", "1d", "h", "1.5.2h", "0s", "1e5h", "\ud800", "\0", "\n", "1\n", "ſ"),
    *("9" * 400 + "h", "0x10", "1_000", "--", "-", "=", "٣m", "1,5h", "true", "[]", "1h1h", "1s1h"),
)
LINE = {
    "--budget": "budget",
    "--trials": "trials",
    "--workers": "workers",
    "--max-latency": "max_latency",
    "--seed": "seed",
}


class TooLongError(Exception):
    """An input takes longer than `LONGEST`."""


def mutations(n: int, seed: int) -> Iterator[Tried]:
    """Try `n` mutated inputs; number i is the same in every call with the same seed."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(100 * share))]
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder, _alarm():
        place = Path(folder)
        write_files(place, {f"studies/{name}.toml": text for name, text in STUDIES.items()})
        sources, ensemble = texts(), save_ensemble(place / "ensemble")
        os.chdir(place)
        try:
            for number in range(n):
                chance = random.Random(f"{seed} {number}")
                kind = kinds[number % len(kinds)]
                source: Any = {"toml": sources, "data": place, "manifest": ensemble, "line": None}[kind]
                yield _try(f"mutation {number} ({kind}) of seed {seed}", MAKERS[kind], source, chance)
        finally:
            os.chdir(before)


def _try(
    name: str,
    make: Callable[[Any, random.Random], tuple[str, Callable[[], object]]],
    source: Any,
    chance: random.Random,
) -> Tried:
    """Make one input, use it, and say what is wrong if it neither works nor is refused in one line."""
    with np.errstate(all="ignore"):
        shown, use = make(source, chance)
    said = io.StringIO()
    signal.alarm(LONGEST)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            use()
        return name, ""
    except InputError as error:
        return told(
            name, [] if len(str(error).splitlines()) == 1 else [f"{error!r} is not one line, of {_short(shown)}"]
        )
    except SystemExit as error:  # of the parser of the command line
        refused = error.code == 2 and said.getvalue().startswith("error: ")
        return told(name, [] if refused else [f"exit {error.code}: {said.getvalue()!r} of {_short(shown)}"])
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {str(error)[:SHOWN]} ({Path(where.filename).name}, line {where.lineno})"
        own = [f for f in traceback.extract_tb(error.__traceback__) if "fmnist_bench" in f.filename]
        what += f", from {Path(own[-1].filename).name}, line {own[-1].lineno}," if own else ","
        return told(name, [f"{what} of {_short(shown)}"])
    finally:
        signal.alarm(0)


def _short(shown: str) -> str:
    shown = ascii(shown)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLongError(f"took longer than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _make_line(_: None, chance: random.Random) -> tuple[str, Callable[[], object]]:
    """Give options of `run` odd values, through the parser and what checks them before anything is loaded."""
    arguments = ["run", "bayes"]
    for option in chance.sample(list(LINE), chance.choice((1, 1, 2, 3))):
        word = chance.choice(WORDS)
        if chance.random() < 0.3:
            word = change_bytes(word.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "surrogateescape")
        arguments += chance.choice(([option, word], [f"{option}={word}"]))

    def use() -> None:
        options = program.make_parser().parse_args(arguments)
        worker_count(options.workers)
        with_overrides(load_benchmark(options.name), options.budget, options.trials, options.seed, options.max_latency)

    return ascii(arguments), use


MAKERS = {"toml": make_toml, "data": make_data, "manifest": make_manifest, "line": _make_line}
