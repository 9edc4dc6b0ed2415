"""What the ensemble's students came to, beside their teacher and their untaught twin."""

from fmnist_bench.config.study import UNDISTILLED
from fmnist_bench.report.families import ENSEMBLE
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.tables import Cell, Table, difference, interval, number, percent, seconds, text


def distilled(findings: Findings) -> Table:
    """Tabulate teacher, untaught twin and taught networks on the rows that are measured."""
    part, known = findings.part, {who.name: who for who in findings.everyone if who.scored}
    twin, names = known.get(UNDISTILLED), [name for name in findings.students if name in known]
    shown = [ENSEMBLE, *sorted(names, key=lambda name: name != UNDISTILLED)] if names else []
    rows = []
    for name, who in ((name, known[name]) for name in shown if name in known):
        row = findings.scores(who)
        scores = [percent(row[f"{part}_accuracy"]), interval(row[f"{part}_low"], row[f"{part}_high"])]
        gain = findings.opened and twin is not None and who is not twin
        against = difference(findings.compare(who, twin)) if gain and twin else [Cell("–", "")] * 3
        cost = [seconds(who.fit_seconds), number(row["predict_ms"], 3)]
        rows.append([text(f"{name} (teacher)" if who is findings.ensemble else name), *scores, *against, *cost])
    accuracy = f"{findings.measured.capitalize()} accuracy, %", "95 % interval"
    columns = ("Model", *accuracy, "Against undistilled, points", "95 % interval", "p", "Fit, s", "Predict a row, ms")
    return Table("Teacher, untaught twin, taught networks", columns, rows)
