"""Which members of an ensemble go into a file, and what it costs to leave some out."""

import copy
from collections.abc import Sequence

import numpy as np

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.selection import Combination
from fmnist_bench.storage.run_folder import Run


def without(ensemble: StackedEnsemble, drop: Sequence[str]) -> StackedEnsemble:
    """Leave out members by their names; the weights of the others grow so that they sum to one.

    Raises
    ------
    InputError
        Where there is no such member, no other one, or a stacker, which needs all.
    """
    if not drop:
        return ensemble
    names = [name for name, _ in ensemble.members_]
    if unknown := [name for name in drop if name not in names]:
        said = f"the ensemble has no such member, but {', '.join(names)}{nearest(unknown[0], names)}"
        raise InputError(f"--drop {unknown[0]}: {said}")
    if ensemble.stacker_ is not None:
        raise InputError("--drop: a stacker combines the members, and needs all of them; choose the ensemble again")
    kept = [i for i, name in enumerate(names) if name not in drop]
    if not kept:
        raise InputError("--drop: no member would be left")
    smaller = copy.copy(ensemble)
    smaller.members_ = [ensemble.members_[i] for i in kept]
    smaller.weights_ = ensemble.weights_[kept] / ensemble.weights_[kept].sum()
    smaller.member_temperatures_ = ensemble.member_temperatures_[kept]
    return smaller


def valid_accuracies(run: Run, *ensembles: StackedEnsemble) -> list[float] | None:
    """Accuracy on the validation rows, by what the trials that the members are predicted for them.

    None where the members are no trials of this run.
    """
    found = []
    for ensemble in ensembles:
        keys = [name.rpartition("-") for name, _ in ensemble.members_]
        if ensemble.stacker_ is not None or not all(number.isdigit() for _, _, number in keys):
            return None
        try:
            each = np.stack([run.valid_probabilities(study, int(number)) for study, _, number in keys])
        except OSError:
            return None
        how = ensemble.weights_, ensemble.temperature_, None, ensemble.member_temperatures_
        found.append(float((Combination(*how).apply(each).argmax(axis=1) == run.y_valid()).mean()))
    return found
