"""fmnist_bench itself: the benchmark `all`, as the command line runs it. Its report is part of its minutes."""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

NEEDED = "runs/*/ensemble/**/*"  # to predict


def fit(X, y, options):
    from fmnist_bench import load_benchmark, run_benchmark
    from fmnist_bench.progress.displays import PlainLines

    benchmark = replace(load_benchmark("all"), rows=options.rows)
    progress = PlainLines(sys.stdout)
    outcome = run_benchmark(
        benchmark, budget=options.seconds, seed=options.seed, mlruns=options.model, progress=progress
    )
    trials = [trial for trial in outcome.findings.trials if trial.status == "complete"]
    return {"chosen": f"{len(outcome.findings.members)} members", "models": len(trials)}


def load(model, options):
    from fmnist_bench import load_ensemble

    (folder,) = model.glob("runs/*/ensemble")
    return load_ensemble(folder).predict
