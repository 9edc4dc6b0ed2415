"""Findings as figures: which there are, and what each one is given."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from fmnist_bench._utils.files import replacing, write_text
from fmnist_bench.report import figures, metrics, parameter_slices, search_figures
from fmnist_bench.report.canvas import on_white, to_png, to_svg
from fmnist_bench.report.contestant import Array, Mistake
from fmnist_bench.report.figures import Gain, Picture, Score
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.numbers import SLICES, to_csv
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
        Of `accuracy_intervals`, `accuracy_against_cost`, `reliability`, `augmentation`, `fidelity`, `anytime`,
        `learning_curves`, `loss`, `timeline` and `slices_STUDY` those that can be drawn.
    """
    drawn: dict[str, Figure] = {}
    if scores := _scores(findings):
        drawn["accuracy_intervals"] = figures.accuracy_intervals(scores, findings.measured)
        if len(cost := {name: score for name, score in scores.items() if score.cost > 0}) > 1:
            drawn["accuracy_against_cost"] = figures.accuracy_against_cost(
                cost, findings.max_latency, findings.measured
            )
    if bins := {who.name: metrics.reliability(findings.probabilities(who), findings.y) for who in findings.rivals}:
        drawn["reliability"] = figures.reliability(bins, findings.measured)
    if gains := _gains(findings):
        drawn["augmentation"] = figures.forest(gains)
    if learnt := {row.study: row.history for row in findings.preparations if row.history.get("fidelity")}:
        drawn["fidelity"] = search_figures.fidelity(learnt, findings.parts)
    if points := _points(findings):
        end = max(trial.ended for trial in findings.trials)
        drawn["anytime"] = search_figures.anytime(points, end, findings.parts, findings.so_far)
    for name, measure in {"learning_curves": "accuracy", "loss": "loss"}.items():
        if trials := _trainings(findings, measure):
            drawn[name] = search_figures.learning_curves(trials, measure)
    if spans := _spans(findings):
        drawn["timeline"] = search_figures.timeline(spans)
    for study in findings.studies:
        if parameters := parameter_slices.of_study(findings, study):
            drawn[f"{SLICES}{study}"] = parameter_slices.draw(study, parameters)
    return drawn


def draw_alone(findings: Findings) -> dict[str, Figure]:
    """Draw what the page has as tables and lists: confusion matrices, the most confident mistakes, occlusion maps."""
    drawn = _matrices(findings)
    if shown := [
        p for who in findings.explained for one in findings.mistakes(who) for p in _picture(findings, who.name, one)
    ]:
        drawn["mistakes"] = figures.pictures(shown, "Most confident mistakes")
    if maps := [
        p for who, found in findings.occlusions.items() for one in found for p in _picture(findings, who, *one)
    ]:
        drawn["occlusion"] = figures.pictures(maps, "Orange: hiding this makes the mistake less likely")
    return drawn


def _picture(findings: Findings, who: str, one: Mistake, falls: Array | None = None) -> list[Picture]:
    """Give the picture of a mistake, with given and predicted label, and what hiding each patch of it changes."""
    names, pixels = findings.class_names, findings.image(one.row)
    text = f"{who}: {names[one.predicted]}\nlabel {names[one.true]}"
    return [] if pixels is None else [Picture(pixels, text, falls)]


def write_figures(findings: Findings, folder: Path) -> dict[str, str]:
    """Write every figure as SVG and PNG, and its numbers as CSV, in place of an earlier report's.

    Returns
    -------
    dict of str to str
        The figures of the page as SVG.
    """
    folder.mkdir(exist_ok=True)
    write_text(folder / "trials.csv", to_csv(findings, "trials"))
    written, svgs = {"trials.csv"}, {}
    for name, fig in {**draw(findings), **draw_alone(findings)}.items():
        svgs[name] = to_svg(fig)
        files = {"svg": on_white(svgs[name]).encode(), "png": to_png(fig), "csv": to_csv(findings, name).encode()}
        for form, content in files.items():
            written.add(f"{name}.{form}")
            with replacing(folder / f"{name}.{form}") as temporary:
                temporary.write_bytes(content)
    for path in folder.iterdir():
        if path.name not in written:
            path.unlink()
    return svgs


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


def _trainings(findings: Findings, measure: str) -> dict[str, list[Training]]:
    """Give by study the trials that have a history of this measure on the validation rows."""
    best = {(who.name, who.trial) for who in findings.contestants}
    trainings: dict[str, list[Training]] = {}
    for trial in findings.trials:
        if trial.history.get(f"valid_{measure}"):
            training = Training(trial.history, trial.status, (trial.study, trial.number) in best, trial.rung)
            trainings.setdefault(trial.study, []).append(training)
    return trainings


def _matrices(findings: Findings) -> dict[str, Figure]:
    rivals = {"confusion_best_single": findings.best_single, "confusion_ensemble": findings.ensemble}
    counts = {key: (who.name, findings.confusion(who)) for key, who in rivals.items() if who and who.scored}
    names = findings.class_names
    drawn = {key: figures.confusion(n, names, f"Confusion matrix: {name}") for key, (name, n) in counts.items()}
    single, ensemble = rivals.values()
    if len(counts) == 2 and single and ensemble:
        change, clear = findings.confusion_change(single, ensemble)
        title = f"Confusion: ensemble minus {single.name}"
        drawn["confusion_difference"] = figures.confusion(change, names, title, clear=clear)
    return drawn
