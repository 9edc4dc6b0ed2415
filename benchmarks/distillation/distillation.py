"""What a small network learns from an ensemble: from labels alone, from the ensemble too, and on synthetic images too.

    python benchmarks/distillation/distillation.py mlruns/runs/all-.../ensemble --seeds 3

The teacher is a saved ensemble, the student airbench's network with a third of the filters. Three ways, each seed the
same in all: `alone`, on the labels of the train rows; `taught`, on these and the teacher's probabilities of the same
rows; `taught, synthetic`, on as many images of a GAN as well, which saw train rows alone and whose labels are the
teacher's. All make the same number of steps, so the way with twice the rows makes half the epochs: their schedules end
by work, not by the clock, and neighbours on the machine change the seconds alone. Two trainings run side by side, one
core each.

The teacher has seen the train rows and is surer of them than of others; the temperature of 4 softens that. Temperature
and share are those of the literature: nothing was chosen by a test row. Each student predicts the test rows once. A
call that was stopped goes on from what lies in --results. Writes distillation.md and distillation.json beside itself.
"""

import argparse
import json
import statistics
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _pairs import run_each

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import replacing, write_text
from fmnist_bench._utils.soft_targets import SoftTargets
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.models import ConditionalGAN
from fmnist_bench.storage.lesson import Lesson

WAYS = ("alone", "taught", "taught, synthetic")
STUDENT = "cnn-small"  # a named configuration of studies/cnn.toml
KEPT = Path(__file__).with_suffix(".json")


def main() -> None:
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    if options.one:
        way, seed = options.one
        measure(way, int(seed), options)
        return
    if options.gan:
        make_generator(options)
        return
    run_each(__file__, [_words(options, "--gan")])
    ask_teacher(options)
    wanted = [(way, seed) for seed in range(options.seeds) for way in WAYS]
    missing = [pair for pair in wanted if not _place(options.results, *pair).exists()]
    run_each(__file__, [_words(options, "--one", *pair) for pair in missing])
    rows = [json.loads(_place(options.results, *pair).read_text()) for pair in wanted]
    found = {"measured": machine(), "teacher": json.loads((options.results / "teacher.json").read_text()), "rows": rows}
    write_text(KEPT, json.dumps(found, indent=1) + "\n")
    write_text(KEPT.with_suffix(".md"), "\n".join(report(found)) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("teacher", type=Path, metavar="ENSEMBLE", help="folder of a saved ensemble")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default 3)")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="over the train rows, even (default 4)")
    parser.add_argument("--gan-steps", type=int, default=2000, metavar="N", help="of the GAN (default 2000)")
    parser.add_argument("--results", type=Path, default=Path("mlruns-distillation"), metavar="DIR")
    parser.add_argument("--gan", action="store_true", help="make the synthetic images alone")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _words(options: argparse.Namespace, *more: object) -> list[object]:
    steps, epochs = options.gan_steps, options.epochs
    return [options.teacher, "--results", options.results, "--gan-steps", steps, "--epochs", epochs, *more]


def _place(results: Path, way: str, seed: int) -> Path:
    return results / f"{way.replace(', ', '-')}-{seed}.json"


def make_generator(options: argparse.Namespace) -> None:
    """Train the GAN on the train rows, and draw as many images as there are rows."""
    if (images := options.results / "synthetic.npy").exists():
        return
    train = load_dataset(subset="train")
    started = time.monotonic()
    gan = ConditionalGAN(steps=options.gan_steps, cache_dir=str(options.results), random_state=0).fit(train.X, train.y)
    X, _ = gan.sample(len(train.X), random_state=0)
    _keep(images, X)
    seconds = round(time.monotonic() - started)
    write_text(options.results / "gan.json", json.dumps({"steps": options.gan_steps, "seconds": seconds}) + "\n")


def ask_teacher(options: argparse.Namespace) -> None:
    """Keep what the teacher says of train rows and of synthetic ones, and its test score."""
    if (place := options.results / "teacher.json").exists():
        return
    teacher, train = load_ensemble(options.teacher), load_dataset(subset="train")
    for name, X in (("train", train.X), ("synthetic", np.load(options.results / "synthetic.npy"))):
        _keep(options.results / f"teacher-{name}.npy", teacher.predict_proba(X))
    test = load_dataset(subset="test")
    of_train = np.load(options.results / "teacher-train.npy")
    about = {
        "members": [name for name, _ in teacher.members_],
        "accuracy": float(teacher.score(test.X, test.y)),
        "train_accuracy": float((teacher.classes_[of_train.argmax(axis=1)] == train.y).mean()),
        "train_confidence": float(of_train.max(axis=1).mean()),
        "gan": json.loads((options.results / "gan.json").read_text()),
    }
    write_text(place, json.dumps(about) + "\n")


def _keep(path: Path, array: Any) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def measure(way: str, seed: int, options: argparse.Namespace) -> None:
    """Train one student, and keep its test accuracy."""
    train = load_dataset(subset="train")
    lesson = lesson_of(way, options.results)
    X, y, soft = (train.X, train.y, None) if lesson is None else lesson.added_to(train.X, train.y)
    epochs = options.epochs * len(train.X) // len(X)
    student = build(epochs, seed)
    started, before = time.monotonic(), time.process_time()
    student.fit(X, y, soft_targets=soft)
    seconds, cpu = time.monotonic() - started, time.process_time() - before
    test = load_dataset(subset="test")
    row = {
        "way": way,
        "seed": seed,
        "epochs": epochs,
        "rows": len(X),
        "steps": epochs * (len(X) // student.batch_size),
        "weights": student.network_.count_params(),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "accuracy": float(student.score(test.X, test.y)),
    }
    write_text(_place(options.results, way, seed), json.dumps(row) + "\n")


def build(epochs: int, seed: int) -> Any:
    """Build a student."""
    return Study(load_space(STUDENT)).pipeline({"model__epochs": epochs, "model__random_state": seed}).model


def lesson_of(way: str, results: Path) -> Lesson | None:
    """Give what a student learns beside the labels."""
    if way == "alone":
        return None
    images, answers = (np.load(results / name) for name in ("synthetic.npy", "teacher-synthetic.npy"))
    n = len(images) if way == "taught, synthetic" else 0
    return Lesson(np.load(results / "teacher-train.npy"), images[:n], answers[:n])


def report(found: dict[str, Any]) -> Iterator[str]:
    """Write the page."""
    teacher, rows = found["teacher"], found["rows"]
    n_seeds, one = len({row["seed"] for row in rows}), rows[0]
    yield from ("# A small network that learns from an ensemble", "")
    yield textwrap.fill(
        f"The teacher is an ensemble of {', '.join(teacher['members'])}. Its test accuracy is "
        f"{100 * teacher['accuracy']:.2f} %. On the train rows, which it has seen, it is right in "
        f"{100 * teacher['train_accuracy']:.2f} % and gives its answer a probability of "
        f"{teacher['train_confidence']:.3f} in the mean: it is surer there than on others. Teacher and student are "
        f"compared at a temperature of {SoftTargets.temperature:g}, which makes {SoftTargets.share:.0%} of the loss.",
        width=120,
    )
    yield ""
    yield f"The student is airbench's network with 16 filters, {one['weights']:,} weights. Every way makes the same"
    yield "number of steps; other work shared the cores, so core-seconds are given, not seconds."
    yield from ("", f"Test accuracy, %, over {n_seeds} seeds:")
    yield from ("", "| Student | Rows | Epochs | Mean | Least to most | Standard deviation | Core-seconds |")
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        values, cpu = _accuracies(rows, way), statistics.median(row["cpu_seconds"] for row in mine)
        yield (
            f"| {way} | {mine[0]['rows']:,} | {mine[0]['epochs']} | {statistics.mean(values):.2f} "
            f"| {min(values):.2f} to {max(values):.2f} | {_spread(values)} | {cpu:.0f} |"
        )
    yield from ("", "Gains, points, seed by seed:", "")
    for first, second in (("alone", "taught"), ("taught", "taught, synthetic"), ("alone", "taught, synthetic")):
        gains = [b - a for a, b in zip(_accuracies(rows, first), _accuracies(rows, second), strict=True)]
        each = ", ".join(f"{gain:+.2f}" for gain in gains)
        yield f"- {first} -> {second}: {statistics.mean(gains):+.2f} (n = {len(gains)}: {each})"
    yield ""
    gan = teacher["gan"]
    yield f"The GAN's {gan['steps']:,} steps took {gan['seconds']} s on that machine, which no student's time holds."
    yield from ("", "`python benchmarks/distillation/distillation.py ENSEMBLE`", "")
    yield from (f"- {key}: {value}" for key, value in found["measured"].items())


def _accuracies(rows: Sequence[dict[str, Any]], way: str) -> list[float]:
    """In %, by seed."""
    return [100 * row["accuracy"] for row in sorted(rows, key=lambda row: row["seed"]) if row["way"] == way]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"


if __name__ == "__main__":
    main()
