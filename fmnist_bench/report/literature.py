"""Results that others report, each with its protocol and source; they are never mixed with what was measured here."""

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Reported(NamedTuple):
    """A result of the literature.

    Attributes
    ----------
    data, family : str
    accuracy : str
        In percent, with what belongs to it.
    protocol : str
        Rows that it was measured on, and what it cost, where the source says so.
    source : str
    """

    data: str
    family: str
    accuracy: str
    protocol: str
    source: str


@cache
def results() -> tuple[Reported, ...]:
    """Read every result of ``literature.toml``."""
    table = tomllib.loads((Path(__file__).parent / "literature.toml").read_text(encoding="utf-8"))
    protocols = table["protocols"]
    return tuple(
        Reported(data, one["family"], one["accuracy"], _protocol(one, protocols), one["source"])
        for data, found in table["results"].items()
        for one in found
    )


def _protocol(one: dict[str, str], protocols: dict[str, str]) -> str:
    return "; ".join(filter(None, (protocols[one["protocol"]], one.get("note", ""))))
