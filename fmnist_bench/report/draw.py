"""Findings as figures: which there are, and what each one is given."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from fmnist_bench._utils.files import replacing
from fmnist_bench.report import figures, parameter_slices, search_figures
from fmnist_bench.report.canvas import to_png
from fmnist_bench.report.figures import Gain, Picture, Score
from fmnist_bench.report.findings import Contestant, Findings
from fmnist_bench.report.search_figures import Span, Training
from fmnist_bench.storage.results import NOT_BEGUN


def draw(findings: Findings) -> dict[str, Figure]:
    """Draw every figure of a page that the findings have data for.

    Parameters
    ----------
    findings : Findings
        What was found.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Of `accuracy_intervals`, `accuracy_against_cost`, `augmentation`, `fidelity`, `anytime`, `learning_curves`,
        `training`, `timeline` and `slices_STUDY` those that can be drawn.
    """
    drawn: dict[str, Figure] = {}
    if scores := _scores(findings):
        drawn["accuracy_intervals"] = figures.accuracy_intervals(scores, findings.measured)
        if len(cost := {name: score for name, score in scores.items() if score.cost > 0}) > 1:
            drawn["accuracy_against_cost"] = figures.accuracy_against_cost(
                cost, findings.max_latency, findings.measured
            )
    if gains := _gains(findings):
        drawn["augmentation"] = figures.forest(gains)
    if learnt := {row.study: row.history for row in findings.preparations if row.history.get("fidelity")}:
        drawn["fidelity"] = search_figures.fidelity(learnt, findings.parts)
    if points := _points(findings):
        end = max(trial.ended for trial in findings.trials)
        drawn["anytime"] = search_figures.anytime(points, end, findings.parts, findings.so_far)
    if trials := _trainings(findings, ("valid_accuracy",)):
        drawn["learning_curves"] = search_figures.learning_curves(trials)
    if trials := _trainings(findings, ("fit_loss", "fit_accuracy")):
        drawn["training"] = search_figures.training(trials)
    if spans := _spans(findings):
        drawn["timeline"] = search_figures.timeline(spans)
    for study in findings.studies:
        if parameters := parameter_slices.of_study(findings, study):
            drawn[f"slices_{study}"] = parameter_slices.draw(study, parameters)
    return drawn


def draw_alone(findings: Findings) -> dict[str, Figure]:
    """Draw what the page has as tables and lists: the confusion matrices and the most confident mistakes."""
    drawn = _matrices(findings)
    if (who := findings.choice) and (shown := mistakes(findings, who)):
        drawn["mistakes"] = figures.pictures(shown, f"Most confident mistakes of {who.name}")
    return drawn


def write_figures(findings: Findings, folder: Path) -> None:
    """Write every figure as a PNG file, in place of those of an earlier report."""
    folder.mkdir(exist_ok=True)
    drawn = {f"{name}.png": fig for name, fig in {**draw(findings), **draw_alone(findings)}.items()}
    for name, fig in drawn.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(to_png(fig))
    for path in folder.iterdir():
        if path.name not in drawn:
            path.unlink()


def mistakes(findings: Findings, who: Contestant) -> list[Picture]:
    """Give the pictures of the wrong rows of which a contestant was surest, with given and predicted label."""
    names = findings.class_names
    found = [(findings.image(one.row), one) for one in findings.mistakes(who)]
    return [
        Picture(pixels, f"predicted {names[one.predicted]}\nlabel {names[one.true]}")
        for pixels, one in found
        if pixels is not None
    ]


def _scores(findings: Findings) -> dict[str, Score]:
    rows, part = [findings.scores(who) for who in findings.everyone if who.scored], findings.part
    return {
        row["name"]: Score(row[f"{part}_accuracy"], row[f"{part}_low"], row[f"{part}_high"], row["predict_ms"])
        for row in rows
    }


def _gains(findings: Findings) -> dict[str, Gain]:
    found = {f"{more.study} − {less.study}": difference for less, more, difference in findings.augmented}
    return {name: Gain(test.difference, test.low, test.high) for name, test in found.items()}


def _points(findings: Findings) -> dict[str, list[tuple[float, float]]]:
    points: dict[str, list[tuple[float, float]]] = {study: [] for study in findings.studies}
    for trial in findings.trials:
        if trial.accuracy is not None:
            points[trial.study].append((trial.ended, trial.accuracy))
    return points if any(points.values()) else {}


def _spans(findings: Findings) -> dict[str, list[Span]]:
    """Give by study when its trials ran; the best study first, as in the leaderboard."""
    spans: dict[str, list[Span]] = {who.name: [] for who in findings.everyone if who is not findings.ensemble}
    for trial in findings.trials:
        if trial.status != NOT_BEGUN:
            span = Span(max(trial.ended - trial.seconds, 0.0), trial.ended, trial.phase)
            spans.setdefault(trial.study, []).append(span)
    return {study: found for study, found in spans.items() if found}


def _trainings(findings: Findings, measures: tuple[str, ...]) -> dict[str, list[Training]]:
    """Give by study the trials that have any of these histories."""
    best = {(who.name, who.trial) for who in findings.contestants}
    trainings: dict[str, list[Training]] = {}
    for trial in findings.trials:
        if any(trial.history.get(measure) for measure in measures):
            training = Training(trial.history, trial.status, (trial.study, trial.number) in best)
            trainings.setdefault(trial.study, []).append(training)
    return trainings


def _matrices(findings: Findings) -> dict[str, Figure]:
    rivals = {"confusion_best_single": findings.best_single, "confusion_ensemble": findings.ensemble}
    counts = {key: (who.name, findings.confusion(who)) for key, who in rivals.items() if who and who.scored}
    names = findings.class_names
    drawn = {key: figures.confusion(n, names, f"Confusion matrix: {name}") for key, (name, n) in counts.items()}
    if len(counts) == 2:
        (name, single), (_, ensemble) = counts.values()
        title = f"Confusion: ensemble minus {name}"
        drawn["confusion_difference"] = figures.confusion(ensemble - single, names, title, signed=True)
    return drawn
