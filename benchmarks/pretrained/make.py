"""Makes what comes with the package from a finished run on Fashion-MNIST: files, their hashes, and the model cards.

    python benchmarks/pretrained/make.py mlruns/runs/all-...

`network` is the run's best single model by validation rows, which must be a network; its test score is the report's.
`ensemble` is chosen again, by validation rows, from the trials whose models are small files (--largest); its test
score opens the run's test rows once more, which the run's record counts. Every figure of a card is one that the run
recorded or that this script counted. Writes fmnist_bench/pretrained/.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import write_text
from fmnist_bench.config.fidelity import ROWS
from fmnist_bench.ensemble.choose import costs_of
from fmnist_bench.ensemble.pretrained import CARD, PRETRAINED
from fmnist_bench.ensemble.rechoose import Rechosen, save_offline
from fmnist_bench.ensemble.selection import Combination, learn_combination
from fmnist_bench.report.metrics import scores
from fmnist_bench.report.opening import open_test_rows, openings, predict_test, winners
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.run_folder import MANIFEST, Run
from fmnist_bench.storage.trial import Trial

MIB = 2**20
EPOCHS = "model__epochs"
WHAT = {
    "network": "The best single network of a run on Fashion-MNIST",
    "ensemble": "Small models of a run on Fashion-MNIST, combined",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a run on Fashion-MNIST")
    parser.add_argument("--largest", type=float, default=3.0, metavar="MIB", help="of a member's file (default 3)")
    options = parser.parse_args()
    with open_folder(newest_run(options.run)) as run:
        make(run, "network", best_network(run))
        make(run, "ensemble", choose(run, small_trials(run, options.largest)))


def best_network(run: Run) -> Rechosen:
    """Find the best single model, which must be a network; its temperature is found as that of any other."""
    study = run.state["scores"]["single"]["name"]
    if EPOCHS not in (record := winners(run)[study]).settings:
        raise InputError(f"{run.folder}: its best single model is {study}, no network")
    return choose(run, [record])


def small_trials(run: Run, largest: float) -> list[Trial]:
    """Find complete trials whose models are kept, as files of at most so many MiB."""
    records = [record for study in run.state["studies"] for record in run.records(study) if record.is_complete]
    return [record for record in records if 0 < _size(run, record) <= largest]


def _size(run: Run, record: Trial) -> float:
    file = run.model_file(record.study, record.number)
    return file.stat().st_size / MIB if file.is_file() else 0.0


def choose(run: Run, records: Sequence[Trial]) -> Rechosen:
    """Choose among trials as a run does, by its validation rows."""
    probabilities, y = np.stack([run.valid_probabilities(r.study, r.number) for r in records]), run.y_valid()
    found = learn_combination(probabilities, y)
    kept = np.flatnonzero(found.weights)
    temperatures = None if found.temperatures is None else found.temperatures[kept]
    combination = Combination(found.weights[kept], found.temperature, temperatures=temperatures)
    members, right = [records[i] for i in kept], found.apply(probabilities).argmax(axis=1) == y
    return Rechosen("greedy", len(records), tuple(members), combination, costs_of(run, members), right, right)


def make(run: Run, name: str, found: Rechosen) -> None:
    """Save an ensemble, score it, and write its card."""
    shutil.rmtree(folder := PRETRAINED / name, ignore_errors=True)
    save_offline(run, found, folder)
    test = open_test_rows(run)
    predicted, faults = predict_test(run, found.keys, test, ())
    if faults:
        raise InputError(f"{run.folder}: {faults}")
    combined = found.combination.apply(np.stack([predicted[key] for key in found.keys]))
    members = list(zip(found.members, found.combination.weights.tolist(), strict=True))
    write_text(folder / CARD, "\n".join(card(run, name, folder, members, combined, test.y)) + "\n")
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / MIB:.2f} MiB")


def card(
    run: Run, name: str, folder: Path, members: Sequence[tuple[Trial, float]], predicted: Any, y: Any
) -> Iterator[str]:
    """Write the model card."""
    state = run.state
    share = {key: value if key == "log_loss" else 100 * value for key, value in scores(predicted, y).items()}
    yield from (f"# Pretrained {name}", "")
    yield f"{WHAT[name]}: `fmnist_bench.load_pretrained({name!r})`."
    yield from ("", f"- Classes: {', '.join(state['class_names'])}")
    yield f"- Test accuracy: {share['accuracy']:.2f} % of {len(y):,} rows"
    yield f"  (95 % interval {share['low']:.2f} to {share['high']:.2f} %)"
    yield f"- Log loss {share['log_loss']:.4f}, calibration error {share['calibration_error']:.2f} %"
    yield f"- Test rows opened for the run by then: {openings(run)} times"
    yield f"- Data: the train rows of Fashion-MNIST (MIT licence), SHA-256 `{state['fingerprint']}`"
    command = re.sub(r" --mlruns(=| )\S+", "", state["command"])  # where its results lie changes nothing
    yield f"- Command: `{command}`, seed {state['seed']}, {state['seconds']:.0f} s used"
    yield from (f"- {key.capitalize()}: {value}" for key, value in state["machine"].items())
    yield f"- Files: SHA-256 of each in `{MANIFEST}`, whose own is `{digest_of_file(folder / MANIFEST)}`"
    yield from ("- Licence: MIT, as the package", "", "Members:", "")
    for record, weight in members:
        settings = ", ".join(f"{key}={value}" for key, value in record.settings.items())
        rows = 100 * float(record.settings.get(ROWS, 1.0))
        yield f"- {record.study}-{record.number}, weight {weight:.3f}, {rows:.0f} % of the rows: `{settings}`"
    yield from ("", *LIMITS)


LIMITS = (
    "## Limits",
    "",
    "- It always answers with one of the ten classes, also for what is no piece of clothing.",
    "- It has learnt from catalogue pictures: one piece, upright, in the middle, 28 x 28 gray pixels on black.",
    "  `predict` makes image files alike, and crops nothing. The accuracy is not that of other photos.",
    "- The interval covers the chance of which rows are in the test set, not that another training would differ.",
    "- Another back end or processor changes the last digits of its probabilities, and may change an answer.",
)


if __name__ == "__main__":
    main()
