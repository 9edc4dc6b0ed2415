"""Arguments that several verbs take, and how a verb is declared."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from fmnist_bench._utils.errors import nearest

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]
    CarryOut = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and what was perhaps meant."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and leave with status 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def refuse(self, argument: str) -> NoReturn:
        """Leave with status 2 because of an argument that the verb does not take."""
        known = nearest(argument.partition("=")[0], [*self._option_string_actions])
        self.error(f"unrecognized argument {argument}{known}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = nearest(str(value), names).replace("; ", ": ")
            raise argparse.ArgumentError(action, f"no {value!r}{hint} (choose from {', '.join(names)})")


def _parent(*flags: str, **options: Any) -> Parser:
    parser = Parser(add_help=False)
    parser.add_argument(*flags, **options)
    return parser


DEBUG = _parent("--debug", action="store_true", help="show the trace of an error")
MLRUNS = _parent("--mlruns", default="mlruns", metavar="DIR", help="folder of all results (default: mlruns)")
IMPORTS = _parent(
    "--allow-import",
    action="append",
    default=[],
    metavar="PREFIX",
    help="let studies name classes of this package too, such as my_package (runs its code)",
)
DATA = _parent(
    "--data", metavar="DATA", help="a name such as digits or openml:554, a folder, an .npz, a CSV or Parquet table"
)
READING = _parent("--resize", type=int, metavar="N", help="bring all images to N x N pixels")
READING.add_argument("--skip-unreadable", action="store_true", help="leave out image files that cannot be read")
FILES = _parent("--data", metavar="DIR", help="folder with Fashion-MNIST's four files")


def add_verb(
    verbs: "Verbs", name: str, carry_out: "CarryOut", help: str, parents: Sequence[Parser] = ()
) -> argparse.ArgumentParser:
    """Declare a verb.

    Parameters
    ----------
    verbs : argparse action
        Where it is declared.
    name : str
        What the user types.
    carry_out : callable
        Takes what was read from the command line and returns the exit status.
    help : str
        One line.
    parents : sequence of Parser
        Arguments that it shares with others; `DEBUG` is always one.

    Returns
    -------
    argparse.ArgumentParser
        For the arguments of its own.
    """
    parser = verbs.add_parser(name, parents=[*parents, DEBUG], help=help)
    parser.set_defaults(carry_out=carry_out, parser=parser)
    return parser
