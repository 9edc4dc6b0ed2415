"""With and without synthetic images: the same parameters, the same seeds, the difference in test accuracy.

    python benchmarks/augmentation/gan_paired.py

Each family's default configuration, on a part of the train rows: as it is, with classic augmentation, with a GAN
trained on that same part, with both; one synthetic or changed row for each real one (networks change every batch
instead). On all rows the families that are not the CNN go without classic augmentation, to save hours. The CNN's epochs
are the same in every way, more where rows are few; so synthetic rows mean more steps, and more time. Seeds run side by
side, one core each. A call that was stopped goes on from what lies in --results; every call adds to what
gan_paired.json beside this file holds, and writes all of it to gan_paired.md and gan_paired.svg. Test rows are
predicted once by each model; nothing is chosen by them.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _pairs import run_each

from fmnist_bench._utils.environment import machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import load_dataset, make_split
from fmnist_bench.models.augmentation.classic import ClassicAugmentation
from fmnist_bench.models.augmentation.gan import ConditionalGAN
from fmnist_bench.pipeline import Augmentations

FAMILIES = ("logistic_regression", "random_forest", "xgboost", "cnn", "efficientnet_lite0")
NETWORKS = ("cnn",)  # change every batch by themselves
WAYS = ("plain", "classic", "gan", "classic+gan")
PAIRS = (("plain", "gan"), ("plain", "classic"), ("classic", "classic+gan"))
VALID = 10_000
EPOCHS, RISE = 4, 0.7  # of the CNN on all rows; on a tenth 20, on a hundredth 100
KEPT = Path(__file__).with_suffix(".json")
CHANGES = {"flip": True, "shift": 2, "erase": 0.25}


def main() -> None:
    options = _options()
    if options.one:
        share, seed = options.one
        measure(share, int(seed), options.results)
        return
    rows = _rows(options.results)
    seeds = {share: options.seeds_of_all if share == 1 else options.seeds for share in options.shares}
    wanted = [(share, seed) for share in sorted(seeds, reverse=True) for seed in range(seeds[share])]  # longest first
    missing = [(share, seed) for share, seed in wanted if not _is_whole(rows.get((share, seed)), share)]
    try:
        run_each(__file__, [("--one", share, seed, "--results", options.results) for share, seed in missing])
    finally:
        rows = _rows(options.results)
        write_text(KEPT, json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n")
    whole = [row for (share, _), row in sorted(rows.items()) if _is_whole(row, share)]
    write_text(KEPT.with_suffix(".md"), "\n".join(report(whole)) + "\n")
    draw(whole, KEPT.with_suffix(".svg"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.1, 1.0], metavar="S", help="of train rows")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="repetitions on a part (default 5)")
    parser.add_argument("--seeds-of-all", type=int, default=3, metavar="N", help="and on all rows (default 3)")
    parser.add_argument("--results", type=Path, default=Path("mlruns-gan"), metavar="DIR", help="what was measured")
    parser.add_argument("--one", type=float, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _rows(results: Path) -> dict[tuple[float, int], dict[str, Any]]:
    """What was measured, by share and seed: earlier, and in this folder."""
    earlier = json.loads(KEPT.read_text()) if KEPT.exists() else []
    rows = [*earlier, *(json.loads(path.read_text()) for path in results.glob("*.json"))]
    return {(row["share"], row["seed"]): row for row in rows}


def _is_whole(row: dict[str, Any] | None, share: float) -> bool:
    return row is not None and {f"{family} {way}" for family, way in _contestants(share)} <= row["accuracy"].keys()


def measure(share: float, seed: int, results: Path) -> None:
    """Train one GAN on a part of the rows, then every family in every way; keep the accuracies, each at once."""
    results.mkdir(parents=True, exist_ok=True)
    place = results / f"{share:g}-{seed}.json"
    train, test = load_dataset(subset="train"), load_dataset(subset="test")
    split = make_split(train.y, VALID, seed)
    part = (split if share == 1 else split.part(share, train.y, seed)).fit
    X, y = train.X[part], train.y[part]
    row: dict[str, Any] = {"share": share, "seed": seed, "rows": len(X), "accuracy": {}, "seconds": {}}
    if place.exists():
        row = json.loads(place.read_text())
    if not (generator := place.with_suffix(".keras")).exists():
        started = time.monotonic()
        ConditionalGAN(random_state=seed).fit(X, y).save(generator)
        row["seconds"]["gan"] = round(time.monotonic() - started, 1)
        write_text(place, json.dumps(row) + "\n")
    with tempfile.TemporaryDirectory() as cache:
        for family, way in _contestants(share):
            if (name := f"{family} {way}") in row["accuracy"]:
                continue
            pipeline = _pipeline(family, way, share, generator, {"random_state": seed, "cache_dir": cache})
            started = time.monotonic()
            pipeline.fit(X, y)
            row["seconds"][name] = round(time.monotonic() - started, 1)
            row["accuracy"][name] = float(pipeline.score(test.X, test.y))
            write_text(place, json.dumps(row) + "\n")


def _contestants(share: float) -> Iterator[tuple[str, str]]:
    for family in FAMILIES:
        for way in WAYS:
            if family in NETWORKS or share < 1 or "classic" not in way:
                yield family, way


def _pipeline(family: str, way: str, share: float, generator: Path, facts: dict[str, Any]) -> Any:
    study = Study(load_space(family))
    left_open = {name: r.choices[0] if r.choices else r.low for name, r in study.ranges().items()}
    arguments: dict[str, Any] = {}
    if family in NETWORKS:
        classic = CHANGES if "classic" in way else {"flip": False, "shift": 0, "erase": 0.0}
        arguments = {**classic, "epochs": round(EPOCHS / share**RISE)}
    own = {f"model__{key}": value for key, value in arguments.items()}
    pipeline = study.pipeline({**left_open, **study.space.defaults[0].parameters, **own}, facts=facts)
    samplers: list[tuple[str, Any]] = []
    seed = facts["random_state"]
    if "gan" in way:
        samplers.append(("gan", ConditionalGAN(ratio=1.0, generator=str(generator), random_state=seed)))
    if "classic" in way and family not in NETWORKS:
        samplers.append(("classic", ClassicAugmentation(ratio=1.0, random_state=seed, **CHANGES)))
    pipeline.set_params(augment=Augmentations(samplers) if samplers else None)
    return pipeline


def differences(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str, float, list[float], list[float]]]:
    """Family, way, other way, share, accuracies of the first way and gains of the second, in %, a value a seed."""
    for family in FAMILIES:
        for first, second in PAIRS:
            for share in sorted({row["share"] for row in rows}):
                if not {(family, first), (family, second)} <= set(_contestants(share)):
                    continue
                found = [row["accuracy"] for row in rows if row["share"] == share]
                before = [100 * accuracies[f"{family} {first}"] for accuracies in found]
                after = [100 * accuracies[f"{family} {second}"] for accuracies in found]
                yield family, first, second, share, before, [b - a for a, b in zip(before, after, strict=True)]


def interval(gains: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of paired differences, by Student's t."""
    if len(gains) < 2:
        return -math.inf, math.inf
    half = float(student.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / math.sqrt(len(gains))
    return statistics.mean(gains) - half, statistics.mean(gains) + half


def report(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Write the page."""
    yield from ("# With and without synthetic images", "")
    yield from ("Gain in test accuracy, points, with its paired 95 % interval over the seeds (Student's t).", "")
    yield "| Family | Share of the train rows | | Without, % | Gain | 95 % interval | Seeds | Zero lies | Fit takes |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- | ---: |"
    for family, first, second, share, before, gains in differences(rows):
        low, high = interval(gains)
        verdict = (
            "inside: no difference shown" if low <= 0 <= high else f"outside: it {'helps' if low > 0 else 'harms'}"
        )
        slower = _seconds(rows, share, f"{family} {second}")[1] / _seconds(rows, share, f"{family} {first}")[1]
        yield (
            f"| {family} | {share:.0%} | {first} -> {second} | {statistics.mean(before):.2f} "
            f"| {statistics.mean(gains):+.2f} | {low:+.2f} to {high:+.2f} | {len(gains)} | {verdict} "
            f"| {slower:.1f} times as long |"
        )
    yield from ("", "No time of a fit holds the training of the GAN, once for all families, on one core:", "")
    for share in sorted({row["share"] for row in rows}):
        low, middle, high = _seconds(rows, share, "gan")
        n_rows = next(row["rows"] for row in rows if row["share"] == share)
        yield f"- {n_rows:,} rows: {middle:.0f} s ({low:.0f} to {high:.0f})"
    yield from ("", "![The same as a figure](gan_paired.svg)", "", "`python benchmarks/augmentation/gan_paired.py`")
    yield from ("", *(f"- {key}: {value}" for key, value in machine().items()))


def _seconds(rows: Sequence[dict[str, Any]], share: float, what: str) -> tuple[float, float, float]:
    """Least, median and most seconds over the seeds."""
    found = [row["seconds"][what] for row in rows if row["share"] == share]
    return min(found), statistics.median(found), max(found)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the differences by the GAN as a forest plot."""
    from matplotlib.figure import Figure

    found = [item for item in differences(rows) if item[2] != "classic"]
    figure = Figure(figsize=(8, 0.28 * len(found) + 1), layout="constrained")
    axes = figure.subplots()
    for place, (*_, gains) in enumerate(reversed(found)):
        low, high = interval(gains)
        axes.plot([low, high], [place, place], color="#0072B2")
        axes.plot([statistics.mean(gains)], [place], "o", color="#0072B2", ms=4)
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set_yticks(range(len(found)), [f"{f}, {s:.0%}: {a} → {b}" for f, a, b, s, _, _ in reversed(found)])
    axes.set_xlabel("gain in test accuracy, points (paired, 95 % interval over seeds)")
    figure.savefig(path)


if __name__ == "__main__":
    main()
