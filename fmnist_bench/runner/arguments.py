"""What the user gave, checked: every function raises `InputError` with one line where something cannot be used."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_benchmark, parse_duration
from fmnist_bench.config.space import is_number
from fmnist_bench.config.study import END_SECONDS, HIGHEST_SEED, RUN_REFITS, Benchmark
from fmnist_bench.data.dataset import Dataset, resolve


@dataclass(frozen=True)
class Options:
    """How a benchmark is run, beside what it says itself.

    Attributes
    ----------
    data_path : Path or None
        Folder of the data set's files.
    tracking_uri : str
        Of MLflow; empty for the database in the folder of results.
    allow_import : tuple of str
    weights_dir : str or None
        Folder with files of pretrained weights.
    """

    data_path: Path | None = None
    tracking_uri: str = ""
    allow_import: tuple[str, ...] = ()
    weights_dir: str | None = None


def with_overrides(
    benchmark: Benchmark,
    budget: float | str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    max_latency: float | None = None,
    refit: str | None = None,
) -> Benchmark:
    """Let what a call says stand for what the benchmark says; None leaves that."""
    if trials is not None and not (_is_whole(trials) and trials >= 1):
        raise InputError(f"trials {trials!r}: must be a whole number of at least 1")
    if seed is not None and not (_is_whole(seed) and 0 <= seed <= HIGHEST_SEED):
        raise InputError(f"seed {seed!r}: must be a whole number of at least 0 and at most {HIGHEST_SEED}")
    if max_latency is not None:
        if not is_number(max_latency) or max_latency <= 0:
            raise InputError(f"max-latency {max_latency!r}: must be a number of milliseconds above 0")
        benchmark = replace(benchmark, ensemble=replace(benchmark.ensemble, max_latency=max_latency))
    if refit is not None:
        if refit not in RUN_REFITS:
            raise InputError(f"refit {refit!r}: must be one of {', '.join(RUN_REFITS)}")
        benchmark = replace(benchmark, ensemble=replace(benchmark.ensemble, refit=refit))
    if trials is not None:
        benchmark = replace(benchmark, trials=int(trials), budget=None)
    benchmark = replace(benchmark, budget=benchmark.budget if budget is None else parse_duration(budget))
    if benchmark.budget is not None and benchmark.budget <= END_SECONDS:
        raise InputError(
            f"budget {benchmark.budget:g} s: must be more than the {END_SECONDS:g} s kept aside for ensemble and report"
        )
    return benchmark if seed is None else replace(benchmark, seed=int(seed))


def with_reading(benchmark: Benchmark, resize: int | None, skip_unreadable: bool) -> Benchmark:
    """Let what a call says of reading images stand beside what the benchmark says."""
    resize = benchmark.resize if resize is None else resize
    return replace(benchmark, resize=resize, skip_unreadable=skip_unreadable or benchmark.skip_unreadable)


def worker_count(workers: int | str | None, cluster: str = "") -> int | None:
    """Give how many workers were asked for, None where that is left to the program; the command line gives text."""
    if workers is None or workers == "auto":
        return None
    text = str(workers).strip() if isinstance(workers, str) or _is_whole(workers) else ""
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) < 1:
        raise InputError(f"workers {workers!r}: must be a whole number of at least 1, or auto")
    if cluster:
        raise InputError(f"workers {workers}: not with --cluster, whose workers set the number; leave it out")
    return int(text)


def weights_folder(weights: str | Path | None) -> str | None:
    """Give the folder of pretrained weights as an absolute path."""
    if weights is not None and not Path(weights).is_dir():
        raise InputError(f"weights {weights}: no such folder")
    return None if weights is None else str(Path(weights).resolve())


def prefixes(allow_import: Sequence[str]) -> tuple[str, ...]:
    """Give the prefixes of modules that may be imported, none of which is empty."""
    if isinstance(allow_import, str) or not all(isinstance(prefix, str) and prefix for prefix in allow_import):
        raise InputError(f'allow-import {allow_import!r}: must be a list of prefixes, such as ["my_package"]')
    return tuple(allow_import)


def benchmark_of(name: str | Path | Benchmark) -> Benchmark:
    """Give a benchmark, by its name, its path or itself."""
    if not isinstance(name, str | Path | Benchmark):
        raise InputError(f"{type(name).__name__}: must be the name of a benchmark or a study, a path, or a Benchmark")
    return name if isinstance(name, Benchmark) else load_benchmark(name)


def with_data(benchmark: Benchmark, data: str | Path | Dataset | None) -> tuple[Benchmark, Path | None]:
    """Let `data` stand for the benchmark's own; both take the same names and paths."""
    if isinstance(data, Dataset):
        if not data.in_memory:  # its test rows must be those that belong to its train rows
            raise InputError(f"data: a loaded data set; give its name or path, such as {data.name!r}, instead")
        return replace(benchmark, data=data.name), None
    if not isinstance(data, str | Path | None):
        raise InputError(f"data {type(data).__name__}: must be a name or a path; AutoClassifier.fit takes arrays")
    name, path = resolve(benchmark.data if data is None else data)
    return replace(benchmark, data=name), path


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
