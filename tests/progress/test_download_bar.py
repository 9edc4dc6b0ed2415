"""The bar of a download."""

import http.server
import io
import logging
import threading
from functools import partial

import pytest
from pooch import HTTPDownloader
from rich.console import Console

from fmnist_bench.progress import download_bar as bars
from fmnist_bench.progress.download_bar import DownloadBar, download_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_it_is_drawn_on_a_terminal_alone(monkeypatch, caplog):
    caplog.set_level(logging.INFO, bars.log.name)
    monkeypatch.setattr(bars.sys, "stderr", io.StringIO())
    assert download_bar("x") is False
    monkeypatch.setattr(bars.sys, "stderr", Terminal())
    assert isinstance(download_bar("x"), DownloadBar)
    caplog.set_level(logging.ERROR, bars.log.name)
    assert download_bar("x") is False, "quiet"


def test_it_shows_the_bytes_of_each_file(tmp_path, mirror):
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    fetch = HTTPDownloader(DownloadBar("Fashion-MNIST", screen), 1 << 16)
    for n in (1, 2):
        fetch(mirror(b"x" * n * 1_000_000), str(tmp_path / "file"), None)
        assert (tmp_path / "file").stat().st_size == n * 1_000_000
    shown = screen.file.getvalue()
    assert "Fashion-MNIST" in shown
    assert "1.0/1.0 MB" in shown and "2.0/2.0 MB" in shown


@pytest.fixture
def mirror(tmp_path):
    """Serve bytes on this machine; return a function from bytes to their address."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def serve(content):
            (tmp_path / "served").write_bytes(content)
            return f"http://127.0.0.1:{server.server_address[1]}/served"

        yield serve
        server.shutdown()
