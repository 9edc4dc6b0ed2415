"""How much each parameter mattered, by fANOVA (Hutter et al., 2014)."""

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial

from fmnist_bench.storage.journal import read_studies
from fmnist_bench.storage.run_folder import Run

FEWEST = 8  # trials; importances of fewer would be noise


def importances(
    run: Run, scores: Mapping[str, Mapping[int, float]]
) -> dict[str, tuple[dict[str, float], dict[str, bool]]]:
    """Say which parameters of each study mattered, by functional ANOVA (Hutter, Hoos and Leyton-Brown, 2014).

    Parameters
    ----------
    run : Run
    scores : mapping of str to mapping of int to float
        For each study, accuracies by the number of the trial; trials that compare, those of one rung.

    Returns
    -------
    dict of str to (dict of str to float, dict of str to bool)
        For each study that Optuna searched: the share of the variance that each parameter explains, greatest first,
        none with fewer than `FEWEST` trials or equal scores; and every parameter, with whether its scale is
        logarithmic.
    """
    found = read_studies(run.journal)
    trials = {study: found[study].get_trials(deepcopy=False) for study in scores if study in found}
    return {study: (_shares(found, scores[study]), _searched(found)) for study, found in trials.items()}


def _shares(trials: list[FrozenTrial], scores: Mapping[int, float]) -> dict[str, float]:
    if len(scores) < FEWEST or len(set(scores.values())) == 1:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    # A study of its own: in the journal what ended below the top rung is a pruned trial, which no importance counts.
    optuna_study = optuna.create_study(direction="maximize")
    for trial in trials:
        if trial.number in scores:
            distributions, value = trial.distributions, scores[trial.number]
            optuna_study.add_trial(optuna.create_trial(params=trial.params, distributions=distributions, value=value))
    shares = get_param_importances(optuna_study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()}


def _searched(trials: list[FrozenTrial]) -> dict[str, bool]:
    return {name: getattr(d, "log", False) for trial in trials for name, d in trial.distributions.items()}
