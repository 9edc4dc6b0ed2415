"""How fast a run's exported ensemble predicts, beside the ensemble that it was made of.

    python benchmarks/export/latency.py mlruns                    the newest run of `all` below it

Three ways to the same probabilities: `file`, the ONNX file under onnxruntime; `original`, the saved ensemble as it is;
`original, float32`, the same where no network rounds to bfloat16, as the file does not either. They take turns, and the
median counts: on one core and on all, one row at a time and more. Each number of cores is a process of its own. Train
rows are predicted: the speed does not depend on which. Writes latency.md beside itself. Run it on an idle machine.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

WAYS = ("file", "original", "original, float32")
BATCHES = 1, 100, 1000  # rows that are predicted at a time
PAGE = Path(__file__).with_suffix(".md")


def main() -> None:
    options = _options()
    if options.cores:
        os.sched_setaffinity(0, options.cores)  # before any library counts them
        print(json.dumps(measure(options)))
        return
    every = sorted(os.sched_getaffinity(0))
    found = [_apart(cores) for cores in dict.fromkeys((tuple(every[:1]), tuple(every)))]
    from fmnist_bench._utils.environment import machine
    from fmnist_bench._utils.files import write_text

    write_text(PAGE, "\n".join(report(found, machine())) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mlruns", type=Path, metavar="DIR", help="folder of results")
    parser.add_argument("--name", default="all", help="benchmark (default: all)")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="turns (default 7)")
    parser.add_argument("--cores", type=int, nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def _apart(cores: Sequence[int]) -> dict[str, Any]:
    """Measure in a process of its own, which knows of these cores alone."""
    command = [sys.executable, __file__, *sys.argv[1:], "--cores", *map(str, cores)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Export the newest run's ensemble, and measure the three ways."""
    from fmnist_bench.data.dataset import load_dataset
    from fmnist_bench.ensemble.loading import load_ensemble
    from fmnist_bench.export import export_onnx
    from fmnist_bench.export.agreement import in_float32, session
    from fmnist_bench.storage.find_runs import newest_run, open_folder

    run = open_folder(newest_run(options.name, options.mlruns))
    ensemble = load_ensemble(run.ensemble_folder)
    X = load_dataset(run.state["data"], path=run.state["data_path"], subset="train").X[: max(BATCHES)]
    with tempfile.TemporaryDirectory() as folder:
        agreement = export_onnx(ensemble, file := Path(folder) / "ensemble.onnx", X)
        opened, size = session(str(file), len(options.cores)), file.stat().st_size
    exact = copy.copy(ensemble)
    exact.members_ = [(name, in_float32(model)) for name, model in ensemble.members_]

    def by_file(rows: Any) -> Any:
        return opened.run(None, {"X": rows.reshape(len(rows), *opened.get_inputs()[0].shape[1:])})[0]

    ways = dict(zip(WAYS, (by_file, ensemble.predict_proba, exact.predict_proba), strict=True))
    return {
        "cores": len(options.cores),
        "members": [name for name, _ in ensemble.members_],
        "bytes": size,
        "rows": agreement.rows,
        "difference": agreement.difference,
        "milliseconds": {str(n): in_turns(ways, X[:n], options.repeat) for n in BATCHES},
    }


def in_turns(ways: dict[str, Callable[[Any], Any]], X: Any, repeat: int) -> dict[str, float]:
    """Milliseconds a row that each way takes: the median of its turns, the first of which are not counted."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeat + 1):
        for way, predict in ways.items():
            started = time.perf_counter()
            predict(X)
            if turn:
                times[way].append(1000 * (time.perf_counter() - started) / len(X))
    return {way: statistics.median(found) for way, found in times.items()}


def report(found: Sequence[dict[str, Any]], measured: dict[str, Any]) -> Iterator[str]:
    """Write the page."""
    one = found[0]
    yield from ("# How fast an exported ensemble predicts", "")
    yield f"The ensemble of {', '.join(one['members'])}; the file has {one['bytes'] / 2**20:.1f} MiB. Its probabilities"
    yield f"differ from those of the original in float32 by {one['difference']:.1e} at most, on {one['rows']:,} rows."
    yield from ("", "Milliseconds a row; the ratio is that of file to original:", "")
    yield "| Cores | Rows at a time | File | Original | Ratio | Original, float32 | Ratio |"
    yield f"| ---: | ---: |{' ---: |' * 5}"
    for each in found:
        for n, took in each["milliseconds"].items():
            file, original, exact = (took[way] for way in WAYS)
            ratios = f"{original:.3f} | {file / original:.2f} | {exact:.3f} | {file / exact:.2f}"
            yield f"| {each['cores']} | {int(n):,} | {file:.3f} | {ratios} |"
    yield from ("", "`python benchmarks/export/latency.py DIR`, nothing beside it", "")
    yield from (f"- {key}: {value}" for key, value in measured.items())


if __name__ == "__main__":
    main()
