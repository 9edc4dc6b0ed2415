"""Other AutoML libraries beside this one: the same rows, cores and minutes, one after the other.

    python benchmarks/peers/peers.py --minutes 10
    python benchmarks/peers/peers.py --minutes 30 --peers autogluon,fmnist_bench
    python benchmarks/peers/peers.py --minutes 10 --kill

Each peer has an environment of its own below --work, made by pip from constraints-NAME.txt. It learns from the 60,000
train rows of Fashion-MNIST in a process that ends at 1.5 times its minutes, whatever it is at. A second process loads
what it left and predicts the 10,000 test rows, which the first one has never seen. With --kill its processes are killed
(SIGKILL) at half of their time, and the same call is made again.

A call that was stopped goes on: each measurement is a file below results/ with processor, revision and seed, and
peers.md is made of all of them. A peer that cannot run is a row that says why, and is tried again by the next call.
Run it on an idle machine.
"""

import argparse
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _environments import OWN, CannotRun, constraints, interpreter
from _measure import Call, Peer, measure

from fmnist_bench._utils.environment import cores, machine, versions
from fmnist_bench._utils.files import replacing, write_text
from fmnist_bench.report.metrics import accuracy_interval

HERE = Path(__file__).resolve().parent
PEERS = {
    "fmnist_bench": Peer("fmnist_bench", "fmnist_bench"),
    "autogluon": Peer("autogluon", "autogluon"),
    "autogluon-hog": Peer("autogluon", "autogluon", "hog"),
    "flaml": Peer("flaml", "flaml"),
    "autokeras": Peer("autokeras", "autokeras"),
    "h2o": Peer("h2o", "h2o"),
}

INTRODUCTION = " ".join(
    [
        "Fashion-MNIST: 60,000 train rows, the 10,000 test rows with Wilson's 95 % interval.",
        "Each peer in an environment of its own (constraints-NAME.txt), one after the other.",
        "All have the same cores and minutes, and a hard stop at 1.5 times.",
        "Memory is the largest proportional set size of all processes together.",
        "To predict is 10,000 rows, the model loaded; the size is of what that needs.",
        "HOG stands for our features in the place of pixels.",
    ]
)


def main() -> None:
    options = _options()
    data = prepare(options.work, options.rows)
    for name in options.peers:
        if not is_measured(path := place(name, options)):
            path.parent.mkdir(exist_ok=True)
            write_text(path, json.dumps(one(name, options, data)) + "\n")
        if options.rows is None:
            write_text(HERE / "peers.md", "\n".join(report(measured())) + "\n")
        print("\n".join(report([json.loads(path.read_text())])[-3:][:1]), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="of each measurement (default 10)")
    parser.add_argument("--peers", default=",".join(PEERS), metavar="A,B", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--kill", action="store_true", help="kill each at half of its time, and call it again")
    parser.add_argument(
        "--work", type=Path, default=Path("mlruns-peers"), metavar="DIR", help="environments and models"
    )
    parser.add_argument("--rows", type=int, metavar="N", help="learn from N rows alone, to try it; peers.md is left")
    parser.add_argument("--freeze", action="store_true", help="take the newest versions, and write constraints-*.txt")
    options = parser.parse_args()
    options.peers, options.work = options.peers.split(","), options.work.resolve()
    if unknown := [name for name in options.peers if name not in PEERS]:
        parser.error(f"there is no peer {unknown[0]}; there are {', '.join(PEERS)}")
    return options


def prepare(work: Path, rows: int | None) -> Path:
    """Write the rows as the peers read them, pixels and histograms of gradients, once."""
    from fmnist_bench.data.dataset import load_dataset, make_split
    from fmnist_bench.models import ImageFeatures

    folder = work / f"data-{rows or 'all'}"
    if (folder / "y_test.npy").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    train, test = (load_dataset("fashion-mnist", subset) for subset in ("train", "test"))
    split = None if rows is None else make_split(train.y, 1 / 6, 0, rows)
    kept = np.arange(len(train.y)) if split is None else np.sort(np.r_[split.train, split.validation])
    hog = ImageFeatures(kind="hog", image_shape=train.image_shape).fit(train.X[kept])
    arrays = {"X_train": train.X[kept], "hog_train": hog.transform(train.X[kept]), "y_train": train.y[kept]}
    arrays |= {"X_test": test.X, "hog_test": hog.transform(test.X), "y_test": test.y}
    for name, array in arrays.items():
        with replacing(folder / f"{name}.npy") as temporary:
            np.save(temporary, array)
    return folder


@functools.cache
def here() -> dict[str, str]:
    """Give machine and revision, asked once: the page that a measurement changes would make the tree a dirty one."""
    return machine()


def place(name: str, options: argparse.Namespace) -> Path:
    """File of one measurement on this machine at this revision."""
    about = here()
    words = f"{about['processor']} {about.get('revision', '')}".replace("/", "-").replace(",", "").split()
    what = [f"{options.minutes:g}m", str(options.seed), name, *(["kill"] if options.kill else [])]
    what += [] if options.rows is None else [f"{options.rows}rows"]
    return HERE / "results" / f"{'-'.join([*what, *words])}.json"


def is_measured(path: Path) -> bool:
    """Whether there is a measurement; one of a peer that could not run is made again."""
    return path.exists() and json.loads(path.read_text())["status"] != "cannot run"


def one(name: str, options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Measure one peer, or say why it cannot run."""
    peer = PEERS[name]
    about = {"peer": name, "minutes": options.minutes, "seed": options.seed, "kill": options.kill, **here()}
    about |= {"rows": len(np.load(data / "y_train.npy", mmap_mode="r"))}
    try:
        python = interpreter(peer.name, options.work / "environments", options.freeze)
    except CannotRun as error:
        return {**about, "status": "cannot run", "reason": str(error)}
    folder = options.work / "models" / place(name, options).stem
    call = Call(peer, python, data, folder, 60 * options.minutes, options.seed, cores(), options.rows)
    return {**about, "version": _version(peer.name), **measure(call, np.load(data / "y_test.npy"), options.kill)}


def _version(name: str) -> str:
    if name == OWN:
        return str(versions()["fmnist_bench"])
    lines = constraints(name).read_text().splitlines() if constraints(name).exists() else []
    return next((line.split("==")[1] for line in lines if line.lower().startswith((f"{name}==", f"{name}."))), "")


def measured() -> list[dict[str, Any]]:
    """Read every measurement of all rows."""
    found = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]
    return [each for each in found if each["rows"] == 60_000]


def report(found: list[dict[str, Any]]) -> list[str]:
    """Write the page, of every measurement that is there."""
    return [
        "# Other AutoML libraries beside this one",
        "",
        INTRODUCTION,
        "",
        *_table([each for each in found if not each["kill"]]),
        "",
        *_killed([each for each in found if each["kill"]]),
        "`python benchmarks/peers/peers.py --minutes M`, nothing beside it",
    ]


def _table(found: list[dict[str, Any]]) -> Iterator[str]:
    heads = "Minutes", "Processor", "Revision", "Seed", "Peer", "Version", "Test accuracy, %", "Took, s", "Memory, GiB"
    yield f"| {' | '.join((*heads, 'To predict, s', 'Size, MiB'))} |"
    yield f"| ---: | --- | --- | ---: | --- | --- |{' ---: |' * 5}"
    for each in sorted(found, key=_order):
        yield f"| {' | '.join((*_about(each), *_cells(each)))} |"


def _order(each: dict[str, Any]) -> tuple[Any, ...]:
    return each["minutes"], each["processor"], each["seed"], -_share(each)


def _share(each: dict[str, Any]) -> float:
    right = each.get("right", "")
    return right.count("1") / len(right) if right else 0.0


def _about(each: dict[str, Any]) -> tuple[str, ...]:
    peer = each["peer"], each.get("version", "")
    return f"{each['minutes']:g}", each["processor"], each.get("revision", ""), str(each["seed"]), *peer


def _cells(each: dict[str, Any]) -> Iterator[str]:
    took = [f"{each['seconds']:.0f}", f"{each['peak_memory'] / 2**30:.1f}"] if "seconds" in each else ["–", "–"]
    if each["status"] != "complete":
        yield from (f"{each['status']}: {each['reason']}".replace("|", "/"), *took, "–", "–")
        return
    low, high = accuracy_interval(each["right"].count("1"), len(each["right"]))
    yield f"{100 * _share(each):.2f} ({100 * low:.2f} to {100 * high:.2f})"
    yield from (*took, f"{each['predict_seconds']:.1f}", f"{each['size'] / 2**20:.1f}")


def _killed(found: list[dict[str, Any]]) -> Iterator[str]:
    """Say what became of peers that were killed at half of their time."""
    if not found:
        return
    yield from ("After SIGKILL at half of the minutes, the same call again:", "")
    yield "| Minutes | Processor | Revision | Seed | Peer | Version | Files left by the kill | Second call |"
    yield "| ---: | --- | --- | ---: | --- | --- | ---: | --- |"
    for each in sorted(found, key=_order):
        said = f"{each['status']}: {each['reason']}" if "reason" in each else f"{100 * _share(each):.2f} %"
        took = f" in {each['seconds']:.0f} s" if "seconds" in each else ""
        left = each.get("files_of_the_killed", "–")
        yield f"| {' | '.join((*_about(each), str(left), f'{said}{took}'))} |"
    yield ""


if __name__ == "__main__":
    main()
