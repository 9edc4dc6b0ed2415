"""The campaign's damage: files that others changed, classes of strangers, studies that mean harm."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from _campaign import (
    BENCHMARK,
    LEAST_ACCURACY,
    SECONDS,
    Tried,
    call,
    changed,
    end,
    new_place,
    records_of,
    side_by_side,
    start,
    studies_of,
    told,
    unsound,
    write_files,
)
from _damage_cases import STATE, Change, bomb
from _strangers import KINDS

from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.trial import Trial

CLASSES = tuple(f"class {kind}" for kind in KINDS)
LONGEST_REASON = 2000  # characters


def damage(only: Sequence[str] = ()) -> Iterator[Tried]:
    """Try every kind of damage, or only those of the given names."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        whole: dict[tuple[str, ...], Path] = {}
        classes = [name for name in only or CLASSES if name in CLASSES]
        if classes:
            yield from _strangers(classes)
        names = [name for name in only or cases() if name not in CLASSES]
        for name in names:
            if (found := STATE.get(name)) and found.spaces not in whole:
                whole[found.spaces] = _whole(Path(folder, "-".join(found.spaces)), found.spaces)
        yield from side_by_side(lambda name: cases()[name](name, whole), names)


def cases() -> dict[str, Callable[[str, dict[tuple[str, ...], Path]], Tried]]:
    """Give every case by its name but those of `CLASSES`, which share a run."""
    return {
        **dict.fromkeys(STATE, _damaged),
        **{name: lambda name, _: _in_progress(name) for name in PROGRESS},
        **{name: lambda name, _: _refused(name) for name in STUDIES},
        **{name: lambda name, _: _refused_data(name) for name in DATA},
    }


def _whole(folder: Path, spaces: tuple[str, ...]) -> Path:
    """Make a finished run, of which each case damages a copy."""
    with new_place(spaces) as place:
        ended = call(place, "run", "b.toml")
        if ended.status:
            raise SystemExit(f"the run to be damaged ended with {ended.status}: {ended.errors}")
        shutil.move(place / "mlruns", folder)
    return folder


def _damaged(name: str, whole: dict[tuple[str, ...], Path]) -> Tried:
    """Damage a finished run, and ask for one more trial of each study."""
    case = STATE[name]
    with new_place(case.spaces) as place:
        shutil.copytree(whole[case.spaces], place / "mlruns")
        before = records_of(place)
        digests = {path.parent: _content(path.parent) for path in before}
        found = sorted((place / "mlruns").glob(case.pattern))
        for path in found:
            case.change(path)
        untouched = {path: text for path, text in before.items() if _content(path.parent) == digests[path.parent]}
        ended = call(place, "run", "b.toml", "--trials", "4")
        faults = [] if found else [f"there is no {case.pattern}"]
        if ended.status != case.status or ended.fault:
            return told(name, [*faults, ended.fault or f"exit {ended.status}: {ended.errors}"])
        return told(name, [*faults, *changed(untouched), *(unsound(place) if not case.status else [])])


def _content(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(folder.glob("*"))]


def _in_progress(name: str) -> Tried:
    """Do something to a run that goes on, after its third trial, wait for its end, and call it once more."""
    what, statuses = PROGRESS[name]
    with new_place(("bayes", "tree"), trials=12) as place:
        process = start(place, "run", "b.toml", "--workers", "1")
        deadline = time.monotonic() + SECONDS
        while len(before := records_of(place)) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        what(place, process)
        first = end(place, process)
        faults = [] if first.status in statuses and not first.fault else [first.fault or f"exit {first.status}"]
        second = call(place, "run", "b.toml", "--workers", "1")
        if second.status:
            return told(name, [*faults, f"the second call: {second.fault or second.errors}"])
        kept = [] if name == "results removed" else changed(before)
        failed = [text for path in place.glob(TRIALS) if '"complete"' not in (text := path.read_text("utf-8"))]
        faults += [f"{len(failed)} trials failed"] if failed and name.startswith("cache") else []
        return told(name, [*faults, *kept, *unsound(place)])


TRIALS = "mlruns/runs/*/trials/*/*/trial.json"
PROGRESS: dict[str, tuple[Callable[[Path, subprocess.Popen[bytes]], object], tuple[int, ...]]] = {
    "cache removed in progress": (lambda place, _: shutil.rmtree(place / "mlruns/cache"), (0,)),
    "cache emptied in progress": (
        lambda place, _: [os.truncate(path, 0) for path in place.glob("mlruns/cache/rows-*/*.npy")],
        (0,),
    ),
    "results removed": (lambda place, _: shutil.rmtree(place / "mlruns", ignore_errors=True), (2,)),
    "database removed in progress": (lambda place, _: (place / "mlruns/mlflow.db").unlink(), (0,)),
    "hang-up": (lambda _, process: process.send_signal(signal.SIGHUP), (0,)),
    "termination": (lambda _, process: process.send_signal(signal.SIGTERM), (0,)),
    "Ctrl-C": (lambda _, process: process.send_signal(signal.SIGINT), (0,)),
}


def _strangers(names: Sequence[str]) -> Iterator[Tried]:
    """Let classes of strangers run beside an honest one, all in one run; where that fails, each in a run of its own."""
    kinds = [name.removeprefix("class ") for name in names]
    with new_place() as place:
        spaces = {kind: f'[model]\nuse = "_strangers.Stranger"\nkind = "{kind}"\n' for kind in kinds}
        benchmark = BENCHMARK.format(trials=1, studies=json.dumps(["bayes", *kinds]))
        write_files(place, {f"studies/{kind}.toml": text for kind, text in spaces.items()})
        write_files(place, {**studies_of(["bayes"]), "b.toml": benchmark})
        ended = call(place, "run", "b.toml", "--allow-import", "_strangers")
        faults = unsound(place) if ended.status == 0 else [ended.fault or f"exit {ended.status}: {ended.errors}"]
        if faults and len(names) > 1:
            yield from (tried for name in names for tried in _strangers([name]))
            return
        run = open_folder(newest_run(place / "mlruns")) if ended.status == 0 else None
        for name, kind in zip(names, kinds, strict=True):
            yield told(name, [*faults, *(_faults_of_trial(kind, run.record(kind, 0)) if run else [])])


def _faults_of_trial(kind: str, record: Trial | None) -> Iterator[str]:
    if record is None or record.status not in KINDS[kind]:
        yield f"its trial is {record and record.status}: {record and record.result.reason}"
    elif kind == "reversed" and (record.result.accuracy or 0.0) < LEAST_ACCURACY:
        yield f"its accuracy is {record.result.accuracy}"
    if record is not None and (len(record.result.reason) > LONGEST_REASON or not record.result.reason.isprintable()):
        yield "its reason is not a line that can be shown"


def _refused(name: str) -> Tried:
    """Let a study that means harm be checked and run: both refuse, and nothing is touched."""
    with new_place() as place:
        write_files(
            place, {"victim": "precious", "b.toml": "", "s.toml": STUDIES[name].format(victim=place / "victim")}
        )
        before, faults = _files(place), []
        for verb, more in (("check", ()), ("run", ("--trials", "1"))):
            ended = call(place, verb, "s.toml", "--data", "digits", *more)
            if ended.status != 2 or ended.fault:
                faults.append(f"{verb}: {ended.fault or f'exit {ended.status}'}")
        after = _files(place)
        own = ("output", "errors", "tmp", "mlruns")
        faults += [f"{path} was touched" for path in before if after.get(path) != before[path]]
        faults += [f"{path} was made" for path in after.keys() - before.keys() if path.split("/")[0] not in own]
        return told(name, faults)


def _files(place: Path) -> dict[str, bytes]:
    files = [path for path in place.rglob("*") if path.is_file() and path.name not in ("output", "errors")]
    return {str(path.relative_to(place)): path.read_bytes() for path in files if "tmp" not in path.parts[-2:]}


MODEL_OF = '[model]\nuse = "sklearn.linear_model.LogisticRegression"\n'
BAYES_OF = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\nvar_smoothing = '
STUDIES = {
    **{
        f"study names {use}": f'{MODEL_OF}[model.class_weight]\nuse = "{use}"\n{arguments}\n'
        for use, arguments in {
            "sklearn.datasets._covtype.GzipFile": 'filename = "{victim}"\nmode = "wb"',
            "fmnist_bench.storage.run_folder.Store": 'folder = "{victim}-folder"',
            "fmnist_bench.storage.run_folder.Path": "",
            "fmnist_bench.trials.process.threading.Thread": "",
            "sklearn.callback._transport.Listener": "",
            "joblib.memory.Memory": 'location = "{victim}-cache"',
            "sklearn.utils._joblib.Memory": 'location = "{victim}-cache"',
            "xgboost.core.ctypes.CDLL": 'name = "libc.so.6"',
            "sklearn.base.BaseEstimator.__init__": "",
            "subprocess.Popen": 'args = "true"',
            "sklearn.os.system": 'command = "true"',
            "builtins.open": 'file = "{victim}"\nmode = "w"',
        }.items()
    },
    "study with a cache": '[[features]]\nuse = "sklearn.cluster.FeatureAgglomeration"\nn_clusters = 12\n'
    f'memory = "{{victim}}-cache"\n{MODEL_OF}',
    **{
        f"range {range_}": BAYES_OF + range_.replace("{", "{{").replace("}", "}}") + "\n"
        for range_ in (
            "{ low = 1e-9, high = inf }",
            "{ low = -inf, high = 1.0 }",
            "{ low = nan, high = 1.0 }",
            "{ low = -1e308, high = 1e308 }",
            "{ low = 0.1, high = inf, step = 0.5 }",
            "{ low = 0.0, high = 1.0, step = 1e-320 }",
            "{ low = 0.0, high = 1.0, log = true }",
            "{ low = 1, high = 0 }",
            "{ choices = [] }",
            "{ choices = [nan, inf] }",
            "{ low = 0, high = 1e400 }",
        )
    },
}


def _refused_data(name: str) -> Tried:
    """Show a data set that cannot be used."""
    with new_place() as place:
        DATA[name](place / "own.npz")
        ended = call(place, "data", "own.npz")
        return told(name, [] if ended.status == 2 and not ended.fault else [ended.fault or f"exit {ended.status}"])


DATA: dict[str, Change] = {
    "data are a bomb": bomb,
    "data are a pickle": lambda path: path.write_bytes(pickle.dumps(1)),
    "data are a folder": lambda path: path.mkdir(),
    "data are empty": lambda path: path.touch(),
    "data hold objects": lambda path: np.savez(path, x_train=np.array([{}, None]), y_train=np.array([1, "a"], object)),
}
