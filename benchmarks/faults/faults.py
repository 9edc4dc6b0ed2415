"""The campaign of faults: random kills, damaged files and hostile input, mutated input; nothing may be lost.

    python benchmarks/faults/faults.py

Each of 50 kills ends the coordinator, a worker or the server that forks them at a random moment of a small benchmark on
digits; then the same command is run again. What each kind of damage should come to stands in `_damage.py`. A mutated
input works, or is refused in one line. About an hour with two cores; the names of kinds try these alone.

Prints what was tried, survived and failed, and writes it into faults.md beside itself. Exit status 1 where anything
failed; the number of a kill, the name of a damage and seed and number of a mutation make it happen again.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from _campaign import Tried
from _damage import CLASSES, cases, damage
from _kills import kills
from _mutations import mutations

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text

HERE = Path(__file__).resolve().parent
KINDS = ("kills", "damage", "mutations")


@dataclass
class Tally:
    """What came of one kind of faults."""

    kind: str
    tried: int = 0
    seconds: float = 0.0
    failures: list[Tried] = field(default_factory=list)

    @property
    def row(self) -> str:
        """Row of the table."""
        failed = len(self.failures)
        return f"| {self.kind} | {self.tried} | {self.tried - failed} | {failed} | {self.seconds:.0f} |"


def main() -> int:
    options = _options()
    tallies = [count(kind, tries(kind, options)) for kind in options.kinds or KINDS]
    page = list(report(tallies, options.seed))
    print("\n".join(page[2:]))
    if options.out is not None:
        write_text(options.out, "\n".join([*page, ""]))
    return 1 if any(tally.failures for tally in tallies) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="default 50")
    parser.add_argument("--mutations", type=int, default=20_000, metavar="N", help="default 20000")
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME", help="damage of these names alone")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of kills and mutations (default 0)")
    parser.add_argument("--out", type=Path, default=HERE / "faults.md", metavar="FILE", help="default: faults.md here")
    options = parser.parse_args()
    for given, allowed in ((options.kinds, KINDS), (options.only, [*CLASSES, *cases()])):
        if unknown := [name for name in given if name not in allowed]:
            parser.error(f"{unknown[0]} is none of {', '.join(allowed)}")
    return options


def tries(kind: str, options: argparse.Namespace) -> Iterator[Tried]:
    """Try all faults of a kind."""
    if kind == "kills":
        return kills(options.kills, options.seed)
    return damage(options.only) if kind == "damage" else mutations(options.mutations, options.seed)


def count(kind: str, tried: Iterator[Tried]) -> Tally:
    """Count what came of each fault, and say at once what failed."""
    tally, started = Tally(kind), time.monotonic()
    for name, fault in tried:
        tally.tried += 1
        if fault:
            tally.failures.append((name, fault))
            print(f"{name}: {fault}", flush=True)
    tally.seconds = time.monotonic() - started
    return tally


def report(tallies: Sequence[Tally], seed: int) -> Iterator[str]:
    """Lines of the page."""
    yield from ("# Faults, and what was lost", "")
    yield from ("| Kind | Tried | Survived | Failed | Seconds |", "| --- | ---: | ---: | ---: | ---: |")
    yield from (tally.row for tally in tallies)
    failures = [failure for tally in tallies for failure in tally.failures]
    if failures:
        lines = (f"- {name}: `{fault}`" for name, fault in sorted(failures))
        yield from ("", "Failed:", "", *lines)
    yield from (
        "",
        "A kill is survived where the same command goes on to its end: every complete trial is there as it was, none",
        "was repeated, Optuna's journal, `trial.json` and MLflow agree, MLflow shows nothing as running, and the",
        "ensemble loads and predicts what the report says. Damage is survived where the run ends so, or is refused in",
        "one line where nothing can go on. A mutated input is survived where it works or is refused in one line.",
        "",
        f"`python benchmarks/faults/{' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}`, seed {seed}",
        "",
        *(f"- {key}: {value}" for key, value in machine().items() if key in ("processor", "revision")),
    )


if __name__ == "__main__":
    sys.exit(main())
