"""The coordinator's connection to a Dask scheduler: made, checked, asked what its workers offer."""

import importlib
import platform
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from fmnist_bench._utils.environment import versions
from fmnist_bench._utils.errors import InputError


class Offer(NamedTuple):
    """What one Dask worker offers: how many trials at once, and its resources."""

    threads: int
    resources: dict[str, float]

    def covers(self, resources: Mapping[str, float]) -> bool:
        """Say whether a trial that asks for `resources` can ever run there."""
        return all(self.resources.get(name, 0.0) >= amount for name, amount in resources.items())


def connect(address: str, timeout: float) -> Any:
    """Make a Dask client, or say in an `InputError` that no scheduler answers within `timeout` seconds."""
    try:
        dask: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise InputError('a Dask cluster needs a package more: pip install "distributed>=2025.1"') from error
    try:
        # A client that cannot connect holds up the end of its process for 20 s.
        socket.create_connection(dask.comm.get_address_host_port(address), timeout).close()
        return dask.Client(address, timeout=timeout, set_as_default=False, name="fmnist_bench")
    except Exception as error:  # what is no Dask scheduler may answer anything
        raise InputError(f"{address}: no Dask scheduler answers there ({described(error)})") from error


def check_workers(client: Any, address: str) -> None:
    """Raise an `InputError` where no worker is there, or one lacks the package or what results depend on differs."""
    ours, theirs = _versions(), client.run(_versions, on_error="return")
    if not theirs:
        raise InputError(f"{address}: the Dask scheduler has no workers; start some: dask worker {address}")
    for worker, found in theirs.items():
        if isinstance(found, Exception):
            raise InputError(f"{address}: worker {worker} cannot run trials: {described(found)}")
        for name in sorted(ours.keys() & found.keys()):
            if ours[name] != found[name]:
                raise InputError(f"{address}: worker {worker} has {name} {found[name]}, here is {ours[name]}")


def _versions() -> dict[str, str]:
    return {"Python": ".".join(platform.python_version_tuple()[:2]), **versions()}


def ask_offers(client: Any, address: str) -> dict[str, Offer]:
    """Ask the scheduler what each worker offers, by the worker's address."""
    try:
        offers: dict[str, Offer] = client.run_on_scheduler(_offers)
    except ImportError as error:
        raise InputError(f"{address}: the Dask scheduler needs fmnist-bench, too: {described(error)}") from error
    except (OSError, RuntimeError) as error:
        raise lost(address) from error
    return offers


def _offers(dask_scheduler: Any) -> dict[str, Offer]:
    states = dask_scheduler.workers.items()
    there = {address: state for address, state in states if state.status.name in ("running", "paused")}
    return {address: Offer(state.nthreads, dict(state.resources)) for address, state in there.items()}


def listed(resources: Mapping[str, float]) -> str:
    """Write resources as in a study."""
    return ", ".join(f"{name} = {amount:g}" for name, amount in resources.items()) or "no resources"


def described(error: BaseException) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:300]}"


def lost(address: str) -> InputError:
    """Give the error for a scheduler that is gone."""
    return InputError(f"{address}: the Dask scheduler is gone; with a new one, the same command goes on")
