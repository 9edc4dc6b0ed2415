"""The campaign's kills: a small benchmark killed at a random moment, and the same command again."""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from _campaign import SECONDS, Tried, call, changed, end, new_place, records_of, side_by_side, start, told, unsound

from fmnist_bench.storage.find_runs import newest_run, open_folder

FLAVOURS = (("bayes", "tree"), ("bayes", "ladder"), ("tree", "network"), ("tree", "asker"))
VICTIMS = {"coordinator": 0, "worker": 1, "forkserver": 2}  # and how many trials may crash of it
TRIALS = 4  # of each study
ATTEMPTS = 5  # at a moment when there is something to kill
BEFORE_FIRST, AFTER = 8.0, 1.5  # most seconds of a moment before the first record, and after each


def kills(n: int, seed: int) -> Iterator[Tried]:
    """Try `n` kills."""
    return side_by_side(kill, range(seed, seed + n))


def kill(seed: int) -> Tried:
    """Kill one run, go on with it, look at what it left."""
    chance = random.Random(seed)
    spaces, victim = FLAVOURS[seed % len(FLAVOURS)], chance.choice(list(VICTIMS))
    workers = str(chance.randint(1, 2))
    for _ in range(ATTEMPTS):
        with new_place(spaces, TRIALS) as place:
            n_records, delay = chance.randint(-1, len(spaces) * TRIALS - 1), chance.random()
            name = f"kill {seed}: {victim} of {'+'.join(spaces)}, {workers} workers, after {n_records} records"
            faults = _kill_once(place, ("run", "b.toml", "--workers", workers), victim, n_records, delay)
            if faults is not None:
                return told(name, faults)
    return told(f"kill {seed}", [f"found no {victim} to kill"])


def _kill_once(place: Path, arguments: tuple[str, ...], victim: str, n_records: int, delay: float) -> list[str] | None:
    """Faults after a kill; None where the run had ended before."""
    process = start(place, *arguments)
    family: dict[int, psutil.Process] = {}
    if not _wait(place, process, n_records):
        process.wait()
        return None
    time.sleep(delay * (AFTER if n_records >= 0 else BEFORE_FIRST))
    before = records_of(place)
    if not _strike(process.pid, victim, family):
        process.wait(SECONDS)
        return None
    if victim == "coordinator":
        process.wait()
        faults, before = [], records_of(place)
    else:  # which goes on by itself; where nothing has begun it may refuse
        first = end(place, process)
        faults = [f"the first call: {first.fault}"] if first.fault or (first.status and before) else []
    second = call(place, *arguments)
    faults += [f"the second call: {second.fault or second.errors.strip()}"] if second.status else []
    faults += changed(before)
    faults += [f"process {p.pid} outlived it" for p in family.values() if p.pid != process.pid and _lives(p)]
    return faults if second.status else [*faults, *unsound(place), *_uncounted(place, victim)]


def _wait(place: Path, process: subprocess.Popen[bytes], n_records: int) -> bool:
    """Wait for so many records; False where the run has ended before."""
    while len(list(place.glob("mlruns/runs/*/trials/*/*/trial.json"))) < n_records:
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return True


def _strike(pid: int, victim: str, family: dict[int, psutil.Process]) -> bool:
    """Kill the victim, when there is one; False where the run ended before."""
    while True:
        with suppress(psutil.NoSuchProcess):
            family |= {child.pid: child for child in psutil.Process(pid).children(recursive=True)}
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
            if (found := _find(pid, victim)) is not None:
                found.kill()
                return True
        if not psutil.pid_exists(pid):
            return False
        time.sleep(0.002)


def _find(pid: int, victim: str) -> psutil.Process | None:
    """Find the coordinator, the server that it forks workers from, or one of the workers."""
    if victim == "coordinator":
        return psutil.Process(pid)
    servers = [child for child in psutil.Process(pid).children() if "forkserver" in " ".join(child.cmdline())]
    found = servers if victim == "forkserver" else [worker for server in servers for worker in server.children()]
    return max(found, key=lambda process: process.pid, default=None)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _uncounted(place: Path, victim: str) -> Iterator[str]:
    """Where a study has not had all of its trials; the trial of a killed worker is one that crashed."""
    run = open_folder(newest_run(place / "mlruns"))
    crashed = 0
    for study in sorted(path.name for path in run.folder.glob("trials/*")):
        ends = [record.status for record in run.records(study)]
        crashed += ends.count("crashed")
        if (n := ends.count("complete") + ends.count("crashed") + ends.count("pruned")) != TRIALS:
            yield f"{study} has had {n} of {TRIALS} trials: {', '.join(ends)}"
    if crashed > VICTIMS[victim]:
        yield f"{crashed} trials crashed"
