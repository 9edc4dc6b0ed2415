"""The server that forks the workers: it imports once what all of them need, which takes seconds."""

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import forkserver
from typing import Any

import psutil

from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.processes import silent_stderr
from fmnist_bench.config.building import is_allowed, module_of

FIRST, LAST = "fmnist_bench.trials._preload_first", "fmnist_bench.trials._preload_last"
LONGEST_TEMPORARY = 103 - len("/pymp-xxxxxxxx/listener-xxxxxxxx")  # bytes; a socket's path may have 103 everywhere
SHORT_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")

_main_lock = threading.Lock()
_imported: set[str] = set()  # what takes long of the modules that this process told its server to import


def prepare(uses: Iterable[str], allow_import: Sequence[str] = ()) -> None:
    """Tell the server that forks the workers what to import once: the modules of classes that studies may name.

    One that was started for less is replaced, unless processes that it forked still run.
    """
    modules = {module_of(use) for use in uses if is_allowed(use, allow_import)}
    slow = {LAST, *(name for name in modules if not name.startswith("sklearn."))}  # skops imports all of sklearn
    _keep_sockets_short()
    with hidden_main():
        if not slow <= _imported and not multiprocessing.active_children():
            if not _imported:  # a refused call would leave it importing; -1 is after the last worker has ended
                multiprocessing.util.Finalize(None, _stop_server, exitpriority=-1)
            _imported.clear()
            _imported.update(slow)
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([FIRST, "fmnist_bench.trials.process", "skops.io", *sorted(modules), LAST])
            _stop_server()
        ensure_server()


def ensure_server() -> None:
    """Start the server that forks the workers, unless it runs."""
    server: Any = forkserver._forkserver
    if not _runs(server._forkserver_pid):
        # TensorFlow greets; a worker writes to a log of its own
        with _path_in_environment(), silent_stderr():
            forkserver.ensure_running()


def _runs(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def _path_in_environment() -> Iterator[None]:
    """Let the server find what this process can import: before Python 3.13 it drops `sys.path`, and preloads less."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextlib.contextmanager
def hidden_main() -> Iterator[None]:
    """Keep multiprocessing from running the caller's script again in every worker: nothing of it is needed there."""
    with _main_lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _keep_sockets_short() -> None:
    """Let multiprocessing put its sockets elsewhere where the path of the temporary folder is too long for that.

    Raises
    ------
    InputError
        Where there is no other folder.
    """
    if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_TEMPORARY:
        return
    before, others = tempfile.tempdir, [folder for folder in SHORT_TEMPORARY if os.access(folder, os.W_OK | os.X_OK)]
    if not others:
        raise InputError(
            f"TMPDIR: the path of {tempfile.gettempdir()} has more than {LONGEST_TEMPORARY} bytes, too many for sockets"
        )
    tempfile.tempdir = others[0]
    try:
        multiprocessing.util.get_temp_dir()  # made once, and taken away at the end of the process
    finally:
        tempfile.tempdir = before


def _stop_server() -> None:
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        # Asked politely it would wait for every process that was forked from this one by hand and holds its pipe.
        with contextlib.suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()
