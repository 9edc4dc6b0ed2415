"""Opens the test set, once the ensemble is fixed: its rows, and what the models that can be used predict for them."""

import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import BUILT_IN, Dataset, load_dataset
from fmnist_bench.ensemble.choose import choose_again, members_of, offered
from fmnist_bench.ensemble.rechoose import train_rows
from fmnist_bench.ensemble.usable import Key, Say, faults_of_files, give_up, given_up, records_left
from fmnist_bench.report.predictions import Left, Models, Probabilities
from fmnist_bench.storage.run_folder import Run
from fmnist_bench.storage.trial import Trial, best
from fmnist_bench.storage.trial_folder import TEST_PROBABILITIES

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Opened:
    """The test rows, and what the models that can be used predict for them, by study and trial.

    Of a data set that somebody gave as arrays there are no test rows, until somebody hands them over. `models` are
    there to be asked about changed copies of the rows, for pictures.
    """

    test: Dataset | None
    predicted: Mapping[Key, Probabilities]
    models: Models | None = None


@contextlib.contextmanager
def open_test_set(
    run: Run, allow_import: Sequence[str] = (), say: Say = log.warning, test: Dataset | None = None
) -> Iterator[Opened]:
    """Let the members of the ensemble and the best trial of every study predict the test rows; a context manager.

    A trial that cannot is given up: the next best of its study stands for it, and the ensemble is chosen again, by
    validation rows, without it. Nothing else about the test rows decides anything.

    Parameters
    ----------
    run : Run
        Its ensemble is chosen and saved.
    allow_import : sequence of str
        Prefixes of further types that saved models may be made of.
    say : callable
        Is told, in one line each, which trials are given up.
    test : Dataset or None
        Test rows that are handed over; None takes those of the run's data set, where it has any.
    """
    if test is not None:
        test = _hand_over(run, test, say)
    elif not run.state.get("in_memory"):
        test = open_test_rows(run)
    n_classes = len(run.state["class_names"] if test is None else test.class_names)
    with Models(run, allow_import) as models:
        predicted = _predict(models, test, n_classes, allow_import, say)
        yield Opened(test, predicted, models)


def _predict(
    models: Models, test: Dataset | None, n_classes: int, allow_import: Sequence[str], say: Say
) -> dict[Key, Probabilities]:
    """Let all that the report needs predict the test rows, where there are any; give up what cannot be used."""
    run = models.run
    while True:
        members = {(study, number) for study, number, _ in members_of(run)}
        singles = winners(run)
        wanted = members | {(study, record.number) for study, record in singles.items()}
        faults = faults_of_files(run, sorted(wanted), n_classes)
        keep = members | {(record.study, record.number) for record in best(singles.values(), 1)}
        able = sorted(wanted - faults.keys())
        predicted, failed = ({}, {}) if test is None else _predict_test(models, able, test, keep)
        if not (faults := faults | failed):
            return predicted
        give_up(run, faults, say)
        if members & faults.keys():
            choose_again(run, train_rows(run), say, allow_import)


def openings(run: Run) -> int:
    """How often the test rows were opened for a run; once for the report of a version that did not count."""
    reported = not run.state.get("in_memory") and (run.folder / "report.md").exists()
    return int(run.state.get("test_set_opened", reported))


def winners(run: Run) -> dict[str, Trial]:
    """Find the best trial of each study that has one, among those whose models are kept and that are not given up."""
    kept = {*offered(run), *((student, 0) for student in run.state.get("students", ()))}
    left = {study: [r for r in records_left(run, study) if (study, r.number) in kept] for study in run.state["studies"]}
    return {study: found[0] for study, records in left.items() if (found := best(records, 1))}


def open_test_rows(run: Run) -> Dataset:
    """Load the test rows of a run, and count that they are opened; the report and ``ensemble`` get them here alone.

    They are of the data that the run learnt from: those of a user's own may have changed meanwhile. Which rows they are
    is noted when they are opened first, and lasts as long as the run: it is measured by no others.
    """
    if run.state.get("in_memory"):
        raise InputError(f"{run.folder}: has no test rows; its data were given as arrays")
    name = run.state["data"]
    if name not in BUILT_IN and _load(run, "train").fingerprint != run.state["fingerprint"]:
        raise InputError(f"{name}: has changed since the run began; put back what it learnt from, or run it anew")
    test = _load(run, "test")
    if run.state.get("test_fingerprint", test.fingerprint) != test.fingerprint:
        raise InputError(f"{name}: its test rows have changed since they were first opened; put them back")
    run.save_state(test_fingerprint=test.fingerprint, test_set_opened=openings(run) + 1)
    return test


def _load(run: Run, subset: str) -> Dataset:
    """Load rows as the run read them."""
    state = run.state
    return load_dataset(state["data"], subset, path=state["data_path"], **state.get("reading", {}))


def _hand_over(run: Run, test: Dataset, say: Say) -> Dataset:
    """Note test rows for a run that has none; once noted, no others: who may choose among test sets can flatter."""
    if not run.state.get("in_memory"):
        raise InputError(f"{run.folder}: has test rows of its own; no others can be handed over")
    if run.state.get("handed_over", test.fingerprint) != test.fingerprint:
        raise InputError(f"{run.folder}: another test set has been opened; a run is measured once")
    if notes := _seen(run, test):
        say(notes[0])
    run.save_state(handed_over=test.fingerprint, test_set_opened=openings(run) + 1)
    return replace(test, notes=(*test.notes, *notes))


def _seen(run: Run, test: Dataset) -> tuple[str, ...]:
    """Say how many test rows are among those that the run learnt from or chose by; refuse where all are."""
    known = {row.tobytes() for row in test.X}
    try:
        known.intersection_update(row.tobytes() for row in run.cached_dataset().X)
    except InputError:  # anybody may delete the cache
        return ("whether test rows are among the rows of fit is unknown: these are not in the cache any more",)
    n = sum(row.tobytes() in known for row in test.X)
    if n == len(test.X):
        raise InputError("X_test: all its rows are among those of fit or validation_data; test rows are new ones")
    return (f"{n:,} of {len(test.X):,} test rows are among those of fit or validation_data, and flatter",) if n else ()


def predict_test(
    run: Run, wanted: Iterable[Key], test: Dataset, allow_import: Sequence[str]
) -> tuple[dict[Key, Probabilities], dict[Key, str]]:
    """Give what models predict for the test rows: what they left, or else they are loaded; see `Models.predict`."""
    with Models(run, allow_import) as models:
        return _predict_test(models, wanted, test)


def predict_kept(run: Run, test: Dataset, allow_import: Sequence[str], left: Left, say: Say) -> None:
    """Let every kept model predict the test rows, so that no later choice has to load one; nobody looks at it here.

    The best go first, as far as the time goes. One that is not reached, or fails, is asked again where it is needed.

    Parameters
    ----------
    run : Run
        Its report is written.
    test : Dataset
    allow_import : sequence of str
    left : callable
        Tells how many seconds there are for it; None without a limit.
    say : callable
        Is told how many models there are, if any.
    """
    able = [key for key in offered(run) if key not in given_up(run) and run.model_file(*key).is_file()]
    lacking = [key for key in able if not (run.trial_folder(*key) / TEST_PROBABILITIES).is_file()]
    records = [record for key in lacking if (record := run.record(*key)) is not None]
    if keys := [(record.study, record.number) for record in best(records, len(records))]:
        say(f"The other {len(keys)} kept models predict the test rows, for later choices")
        with Models(run, allow_import) as models:
            _predict_test(models, keys, test, left=left)


def _predict_test(
    models: Models, wanted: Iterable[Key], test: Dataset, keep: Collection[Key] = (), left: Left = lambda: None
) -> tuple[dict[Key, Probabilities], dict[Key, str]]:
    return models.predict(wanted, test.X, TEST_PROBABILITIES, len(test.class_names), keep, left)
