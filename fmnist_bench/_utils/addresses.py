"""Addresses of stores: of a SQLite file, with its path escaped; of any store, without its secrets."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, unquote_plus, urlparse

ADDRESS = re.compile(r"([A-Za-z][\w+.-]*)://(.*)", re.DOTALL)
HOST = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(:\d*)?")
DRIVERS = {  # settings of a database that may be shown, and that are needed to reach it again; any other may be secret
    *("application_name", "charset", "connect_timeout", "driver", "host", "mode", "port", "sslcert", "sslkey"),
    *("sslmode", "sslrootcert", "timeout", "uri", "user"),
}


def database_uri(file: Path) -> str:
    """Address of a SQLite file: SQLAlchemy takes a bare `?` for the end of the path, and decodes `%3F`."""
    return f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"


def local_path(uri: str) -> Path:
    """Give the path in an address of a file."""
    return Path(unquote(urlparse(uri).path))


def without_secrets(address: str) -> str:
    """Leave out what may be secret: users, passwords and settings of a server; passwords and settings of a database.

    Text before the address stays, as in an option with its value.
    """
    if (found := ADDRESS.search(address)) is None:
        return address
    login, place, settings = _parts(*found.groups())
    user = login.partition(":")[0] if _is_database(found[1]) else ""
    kept = "&".join(one for one in settings if _is_database(found[1]) and _name(one) in DRIVERS)
    shown = f"{found[1]}://{f'{user}@' if user else ''}{place}{f'?{kept}' if kept else ''}"
    return address[: found.start()] + (shown if _is_database(found[1]) else shown.rstrip("/"))


def scrub(text: str, address: str) -> str:
    """Remove the secrets of an address from a message."""
    text = text.replace(address, without_secrets(address)) if address else text
    for secret in sorted(_secrets(address), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(address: str) -> Iterator[str]:
    if (found := ADDRESS.search(address)) is None:
        return
    login, _, settings = _parts(*found.groups())
    user, _, password = login.partition(":")
    hidden = [one for one in settings if not (_is_database(found[1]) and _name(one) in DRIVERS)]
    parts = [password, *(one.partition("=")[2] or one for one in hidden)]
    if not _is_database(found[1]):
        parts += [login, user]
    parts += [piece for part in parts for piece in re.split("[/?#@:]", part) if len(piece) > 2]  # as a parser cuts it
    yield from {form for part in parts for form in (part, unquote(part), unquote_plus(part)) if form}


def _parts(scheme: str, rest: str) -> tuple[str, str, list[str]]:
    """Login, place and settings of an address; a password may hold a `/` or a `?` that nobody has encoded."""
    if scheme.startswith("sqlite"):
        place, _, query = rest.partition("?")
        return "", place, query.split("&") if query else []
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host or HOST.fullmatch(host):
        before, _, after = host.rpartition("@")
        rest = after + rest[len(host) :]
    else:  # what looks like a port is the beginning of a password
        before, _, rest = rest.rpartition("@")
    place, _, query = rest.partition("#")[0].partition("?")
    return before, place, query.split("&") if query else []


def _is_database(scheme: str) -> bool:
    return not scheme.lower().startswith("http")


def _name(setting: str) -> str:
    return setting.partition("=")[0]
