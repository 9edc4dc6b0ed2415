"""The script that measures other libraries: it limits, kills and resumes; real peers take minutes."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "peers"
NEAREST = """
import os, sys, time
import numpy as np
def fit(X, y, options):
    np.savez(options.model / "seen.npz", X=X, y=y)
    if options.seed == 1:
        raise ValueError("no luck")
    if options.seed == 3 and not (mark := options.data / "called").exists():
        mark.touch()
        time.sleep(60)
    if options.seed == 2:
        if os.fork() == 0:
            os.setsid()
        held = np.ones(30_000_000)
        time.sleep(60)
    if options.seed == 4:
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        time.sleep(3)  # longer than between two looks
        os._exit(1)
    return {"chosen": "nearest"}
def load(model, options):
    seen = np.load(model / "seen.npz")
    return lambda X: seen["y"][((X[:, None].astype(float) - seen["X"][None]) ** 2).sum(2).argmin(1)]
"""


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import peers

    yield peers
    for name in [name for name, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def call(peers, digits, tmp_path, monkeypatch):
    """Return a function that makes a call of a peer that looks for the nearest row of digits."""
    from _measure import Call, Peer

    (tmp_path / "peer").mkdir()
    (tmp_path / "peer" / "_nearest.py").write_text(NEAREST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "peer"))
    (data := tmp_path / "data").mkdir()
    for name, rows in (("train", slice(0, 800)), ("test", slice(800, 900))):
        np.save(data / f"X_{name}.npy", digits.X[rows])
        np.save(data / f"y_{name}.npy", digits.y[rows])

    def make(seconds=300.0, seed=0):
        peer = Peer("nearest", "nearest")
        return Call(peer, Path(sys.executable), data, tmp_path / "work", seconds, seed, 1, None)

    return make


def _left(call):
    """Processes of a call that still run."""
    return [p for p in psutil.process_iter(["cmdline"]) if str(call().data) in " ".join(p.info["cmdline"] or [])]


def test_a_peer_learns_in_one_process_and_predicts_in_another(peers, call, digits):
    from _measure import measure

    found = measure(call(), digits.y[800:900], kill=False)
    assert found["status"] == "complete" and found["answer"] == {"chosen": "nearest"}
    assert len(found["right"]) == 100 and found["right"].count("1") > 90
    assert found["size"] > 800 * 64 and found["peak_memory"] > 2**20 and found["predict_seconds"] > 0


def test_a_peer_that_does_not_end_is_stopped_with_all_its_processes(peers, call, digits):
    from _measure import measure

    began = time.monotonic()
    found = measure(call(seconds=2.0, seed=2), digits.y[800:900], kill=False)
    assert found["status"] == "stopped" and found["reason"] == "was not done after 3 s"
    assert time.monotonic() - began < 120
    assert not psutil.wait_procs(_left(call), timeout=60)[1], "a process that was killed takes a moment to end"


def test_a_process_that_outlives_its_peer_is_ended(peers, call, digits):
    from _measure import measure

    found = measure(call(seed=4), digits.y[800:900], kill=False)
    assert found["status"] == "failed" and found["seconds"] < 200
    assert not psutil.wait_procs(_left(call), timeout=60)[1]


def test_a_peer_that_fails_is_a_row_with_its_last_words(peers, call, digits):
    from _measure import measure

    found = measure(call(seed=1), digits.y[800:900], kill=False)
    assert found["status"] == "failed" and "no luck" in found["reason"]
    about = {"peer": "flaml", "minutes": 1.0, "seed": 1, "kill": False, "processor": "x", "rows": 60_000}
    page = "\n".join(peers.report([{**about, **found}]))
    assert "failed: ValueError: no luck" in page


@pytest.mark.slow
def test_after_a_kill_the_same_call_is_made_again(peers, call, digits):
    from _measure import measure

    found = measure(call(seconds=60.0, seed=3), digits.y[800:900], kill=True)
    assert found["status"] == "complete" and found["files_of_the_killed"] == 1


def test_a_peer_that_cannot_run_is_tried_again_and_one_that_was_measured_is_not(peers, tmp_path):
    (path := tmp_path / "a.json").write_text(json.dumps({"status": "cannot run", "reason": "there is no Java"}))
    assert not peers.is_measured(path) and not peers.is_measured(tmp_path / "b.json")
    path.write_text(json.dumps({"status": "failed", "reason": "no luck"}))
    assert peers.is_measured(path)


def test_every_peer_has_a_module_and_an_environment(peers):
    from _environments import OWN, REQUIREMENTS, CannotRun, interpreter

    for peer in peers.PEERS.values():
        assert (FOLDER / f"_{peer.module}.py").exists() and (peer.name == OWN or peer.name in REQUIREMENTS)
    assert interpreter(OWN, Path("nowhere")) == Path(sys.executable)
    assert issubclass(CannotRun, Exception)
