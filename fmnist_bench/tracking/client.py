"""The way to MLflow: importing it, a client, a database made whole, patience with servers, reasons in one line."""

import contextlib
import fcntl
import importlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fmnist_bench._utils.addresses import database_uri, scrub
from fmnist_bench._utils.files import replacing
from fmnist_bench.tracking.folder import place_default

ANSWER_SECONDS = 10  # seconds for one answer of a server; by itself MLflow tries for minutes

_importing, _making = threading.Lock(), threading.Lock()


def warm_up() -> None:
    """Import what a store needs, which takes seconds; for a thread; writes nothing and asks nobody."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with _importing:
        for name in ("mlflow", "mlflow.store.tracking.sqlalchemy_store", "alembic.command"):
            importlib.import_module(name)
        for name in ("mlflow", "alembic"):  # importing mlflow sets their levels
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("mlflow.utils.requirements_utils").setLevel(logging.ERROR)  # this may be a source tree
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # the tracker itself says what failed


def make_client(uri: str) -> Any:
    """Give MLflow's client of a store; a database has answered."""
    warm_up()
    from mlflow import MlflowClient
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from mlflow.store.db.utils import create_sqlalchemy_engine

    if re.split(r"[+:]", uri)[0] in DATABASE_ENGINES:  # MLflow itself would try a wrong address for minutes
        engine = create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
        engine.connect().close()
        engine.dispose()
    return MlflowClient(uri, registry_uri=uri)  # else the environment, or this process, may name another registry


def open_database(path: Path) -> Any:
    """Open a database that is there, and give MLflow's client of it; any fault of it is an exception."""
    client = make_client(database_uri(path))
    client.search_experiments()
    return client


def sqlite_file(uri: str) -> Path | None:
    """Give the file of a SQLite database; None for another store."""
    from sqlalchemy import make_url

    return Path(make_url(uri).database or "") if uri.startswith("sqlite") else None


def make_database(path: Path) -> None:
    """Make an empty database where there is none, whole or not at all: MLflow never gets over a half-made one."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who waited here finds it done
        if not path.exists():
            with replacing(path) as made:
                made.write_bytes(empty_database())
                place_default(made, path.parent)


def empty_database() -> bytes:
    """Give the file of a database that holds nothing yet; made once, in memory, which takes half a second."""
    warm_up()
    with _making:
        return _empty_database()


@cache
def _empty_database() -> bytes:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store: Any = SqlAlchemyStore
    engine = store("sqlite://", "").engine
    with contextlib.closing(engine.raw_connection()) as connection:
        found = bytes(connection.driver_connection.serialize())
    engine.dispose()
    return found


@contextlib.contextmanager
def patience(seconds: int = ANSWER_SECONDS) -> Iterator[None]:
    """Let requests fail after some seconds and at the first try, unless the environment says otherwise."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PGCONNECT_TIMEOUT": str(seconds),
    }
    own = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


def reason(error: BaseException, address: str = "") -> str:
    """Say why in one line: the system's own words where it is a matter of connections, else the library's.

    They tell nothing that is secret in the `address` of the store.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any(isinstance(cause, OSError) for cause in chain):
        texts = [getattr(cause, "strerror", None) or str(cause) for cause in reversed(chain)]
    else:
        texts = [str(error)]
    text = next((text.strip() for text in texts if text.strip()), type(error).__name__)
    return shortened(scrub(text, address).splitlines()[0], 200)


def shortened(text: str, longest: int) -> str:
    """Cut a text that is too long, and show that it was cut."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
