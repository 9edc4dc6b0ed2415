"""optuna-dashboard on a copy of a run's journal, as docs/how-to/python.md says."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from socket import socket

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "python.md"


@pytest.mark.slow
def test_the_dashboard_shows_the_studies_of_a_copied_journal(small_benchmark, tmp_path):
    assert "cp mlruns/runs/NAME/optuna.journal look.journal && optuna-dashboard look.journal" in PAGE.read_text()
    (journal,) = small_benchmark[0].glob("runs/*/optuna.journal")
    shutil.copy(journal, tmp_path / "look.journal")
    before = journal.read_bytes()
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), "look.journal", "--port"]
    server = subprocess.Popen([*command, address.rpartition(":")[2]], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        assert "Optuna Dashboard" in fetch(f"{address}/dashboard", server)
        (study,) = json.loads(fetch(f"{address}/api/studies", server))["study_summaries"]
        detail = json.loads(fetch(f"{address}/api/studies/{study['study_id']}?after=0", server))
    finally:
        server.terminate()
        server.wait()
    assert study["study_name"] == "bayes" and study["directions"] == ["maximize"]
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Complete"]
    assert journal.read_bytes() == before


def fetch(address, server, seconds=120):
    """Ask until the server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.3)
