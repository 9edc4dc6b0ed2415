"""The command line: each module declares some verbs and carries them out by one call into a room below.

`program` puts them together and turns errors into one line and an exit status.
"""

from fmnist_bench.cli.program import main

__all__ = ["main"]
