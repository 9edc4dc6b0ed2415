"""The program: it reads the command line, carries the verb out, and turns an error into one line and a status."""

import argparse
import errno
import os
import sys
import time
import traceback
import warnings
from collections.abc import Sequence

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench._utils.version import __version__
from fmnist_bench.cli import ensembles, inputs, results, run
from fmnist_bench.cli.arguments import Parser
from fmnist_bench.cli.streams import open_closed_streams, say_no_more, show_messages, warning_in_one_line

EXAMPLES = """
examples:
  python -m fmnist_bench run smoke               a first look, two minutes
  python -m fmnist_bench run all                 every family, 30 minutes
  python -m fmnist_bench run all --budget 2h     go on with the same run, to two hours in all
  python -m fmnist_bench run cnn-4conv           one configuration of one study
  python -m fmnist_bench ui                      look at every trial in the browser
  python -m fmnist_bench doctor                  what is here, what is missing, what to do
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line; what it reads has the verb, and the function that carries it out."""
    parser = Parser(
        prog="python -m fmnist_bench",
        description="AutoML benchmark for Fashion-MNIST and data shaped like it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fmnist_bench {__version__}")
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")
    for kind in (run, results, ensembles, inputs):
        kind.add_verbs(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        Exit status: 0, or 1 where no trial was complete, `doctor` found a problem or nobody read on what `run` had to
        say, or 2 where something given cannot be used, or 70 after a fault of this program, or 130 after Ctrl-C.
    """
    started = time.monotonic()
    open_closed_streams()
    options = _read(sys.argv[1:] if arguments is None else arguments)
    if options is None:
        return 2
    options.started = started
    if arguments is None:  # this process is the program's own
        warnings.formatwarning = warning_in_one_line
    if not getattr(options, "quiet", False):
        show_messages()
    try:
        return int(options.carry_out(options))
    except KeyboardInterrupt:
        print("stopped" + ("; the same command goes on from here" if options.verb == "run" else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as by `| head`; what is left to say has nobody to read it
        say_no_more()
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


def _read(arguments: Sequence[str]) -> argparse.Namespace | None:
    """Read the command line, or complete it for the shell; where there is nothing on it, show the help."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        from fmnist_bench.cli.completion import complete

        complete(parser)
    if not arguments:
        parser.print_help(sys.stderr)
        return None
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.refuse(unknown[0])
    return options


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
