"""What it gains to train the members of an ensemble again on train and validation rows, weights and temperature kept.

    python benchmarks/ensemble/refit.py mlruns-10m-1000                the newest run of `all` below it

Each member is trained with all cores, with the rounds or epochs that it had found (as by `refit="full"` of
`StackedEnsemble`) and its own seed; one that had learnt from a part of the train rows gets the same share of all, and
one with synthetic rows goes without: its GAN has seen no validation row. The test rows are predicted by the ensemble as
it was and as it is then. Writes refit.md beside itself.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.environment import cores, machine
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.fidelity import ROWS
from fmnist_bench.data.dataset import Dataset, load_dataset
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.ensemble.members import with_length_found
from fmnist_bench.report.metrics import mcnemar
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mlruns", type=Path, metavar="DIR", help="folder of results")
    options = parser.parse_args()
    run = open_folder(newest_run("all", options.mlruns))
    ensemble = load_ensemble(run.ensemble_folder)
    train, test = (load_dataset(run.state["data"], subset, path=run.state["data_path"]) for subset in ("train", "test"))
    before = ensemble.predict(test.X)
    refit(ensemble, run, train)
    lines = report(run, test.y, before, ensemble.predict(test.X))
    write_text(Path(__file__).resolve().with_suffix(".md"), "\n".join(lines) + "\n")


def refit(ensemble: StackedEnsemble, run: Run, train: Dataset) -> None:
    """Train the members anew, in place."""
    for place, (name, member) in enumerate(ensemble.members_):
        study, _, number = name.rpartition("-")
        record = run.record(study, int(number))
        share = 1.0 if record is None else record.fidelity.get(ROWS, 1.0)
        rows = np.random.default_rng(0).permutation(len(train.X))[: round(share * len(train.X))]
        model = with_length_found(member, member)
        model.set_params(augment=None)
        model.fit(train.X[rows], train.y[rows])
        ensemble.members_[place] = name, model
        print(name, f"{len(rows)} rows", flush=True)


def report(run: Run, y: Any, before: Any, after: Any) -> Iterator[str]:
    """Write the page."""
    pair = mcnemar(y, after, before)
    yield from ("# Training the members again on all rows", "")
    yield f"A run of `all`, {run.state['budget'] / 60:g} minutes, seed {run.state['seed']}; 10,000 test rows."
    yield from ("", "| Members trained on | Test accuracy, % |", "| --- | ---: |")
    yield f"| train rows | {100 * (before == y).mean():.2f} |"
    yield f"| train and validation rows | {100 * (after == y).mean():.2f} |"
    yield ""
    yield f"Gain {100 * pair.difference:+.2f} points, McNemar's p = {pair.p_value:.2g}."
    yield from ("", f"`python benchmarks/ensemble/refit.py {' '.join(sys.argv[1:])}`", "")
    yield from (f"- {key}: {value}" for key, value in {**machine(), "cores used": cores()}.items())


if __name__ == "__main__":
    main()
