"""A comparison of runs as lines for the terminal, as Markdown, and as one HTML page; CSV is `run_row.write_rows`."""

import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.files import write_text
from fmnist_bench.report.compare import BY_WEIGHT, COLUMNS, N_GIVEN, Comparison, leaderboard, over_seeds, paired
from fmnist_bench.report.families import Families, write_families
from fmnist_bench.report.render import templates
from fmnist_bench.report.run_row import write_rows
from fmnist_bench.report.suite_tables import sections
from fmnist_bench.report.tables import Table

GAP = "  "
SUFFIXES = {"markdown": ".md", "csv": ".csv", "families": "-families.csv", "html": ".html"}  # by form


def render(found: Comparison, form: str, command: str = "") -> str:
    """Write a comparison in one of the forms of `SUFFIXES`; `command` is what made it."""
    if form == "csv":
        return write_rows(found.rows)
    if form == "families":
        return write_families(found.families)
    ending, families = SUFFIXES[form][1:], Families(found.families)
    alike = _shared(found)
    tables = {"leaderboard": leaderboard(found), "over_seeds": over_seeds(found), "paired": paired(found)}
    titles = {column.title for column in COLUMNS if column.short in alike}
    tables = {name: _without(table, titles) for name, table in tables.items()}
    figures = _figures(families) if form == "html" else {}
    template = templates(ending).get_template(f"compare.{ending}.j2")
    page = template.render(tables, alike=alike, command=command, suite=sections(families), figures=figures)
    return page if form == "html" else re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def _figures(families: Families) -> dict[str, str]:
    from fmnist_bench.report.canvas import to_svg
    from fmnist_bench.report.suite_figures import draw

    return {name: to_svg(figure) for name, figure in draw(families).items()}


def check_targets(targets: Mapping[str, str | None]) -> dict[str, Path]:
    """Give the files that somebody asked for, by their forms.

    Raises
    ------
    InputError
        Where one could not be written.
    """
    found = {form: Path(target) for form, target in targets.items() if target is not None}
    for path in found.values():
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{path}: cannot be written; name a file in a folder that exists")
    return found


def write_pages(found: Comparison, targets: Mapping[str, Path], command: str = "") -> None:
    """Write a comparison into files, by their forms."""
    for form, path in targets.items():
        write_text(path, render(found, form, command))


def terminal_table(found: Comparison, width: int = 80) -> str:
    """Write the leaderboard over runs as plain text of at most `width` columns, unless a name alone is longer.

    What is the same for all runs stands in a line of its own. Where the rest is too wide, whole columns are left out.
    """
    shared = _shared(found)
    shown, left_out = {column.short for column in COLUMNS} - {*BY_WEIGHT, *shared}, []
    for short in BY_WEIGHT:
        if short in shared:
            continue
        if _width(_lines(found, shown | {short})) > width:
            left_out.append(short)
        else:
            shown.add(short)
    lines = _lines(found, shown)
    notes = [f"{name}: {value}" for name, value in shared.items()]
    notes += [f"left out, but in --html, --markdown, --csv: {', '.join(left_out)}"] if left_out else []
    below = [*notes, *_seed_lines(over_seeds(found))]
    return "\n".join([*lines, *(part for line in below for part in _wrapped(line, width))])


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) or [""]


def _shared(found: Comparison) -> dict[str, str]:
    """What all runs were given alike, by the short title of its column; with one run nothing is shared."""
    values = {c.short: {c.cell(row).text for row in found.rows} for c in COLUMNS[1:N_GIVEN]}
    return {short: texts.pop() for short, texts in values.items() if len(texts) == 1 and len(found.rows) > 1}


def _without(table: Table, titles: Collection[str]) -> Table:
    """Leave out columns."""
    kept = [place for place, title in enumerate(table.columns) if title not in titles]
    n_text = sum(place < table.n_text for place in kept)
    rows = [[row[place] for place in kept] for row in table.rows]
    return table._replace(columns=tuple(table.columns[place] for place in kept), rows=rows, n_text=n_text)


def _lines(found: Comparison, shown: Collection[str]) -> list[str]:
    columns = [column for column in COLUMNS if column.short in shown]
    rows = [[column.short for column in columns], *([c.cell(row).text for c in columns] for row in found.rows)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    places = [f"{{:{'<' if column.is_text else '>'}{w}}}" for column, w in zip(columns, widths, strict=True)]
    return [GAP.join(places).format(*row).rstrip() for row in rows]


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines))


def _seed_lines(table: Table) -> list[str]:
    """One paragraph a group of seeds."""
    found = []
    for row in table.rows:
        benchmark, task, _, revision, seeds, budget, n, *rest = (cell.text for cell in row)
        found += ["", f"{benchmark}: {task}"]
        found.append(f"  {budget}, revision {revision}: {n} runs, seeds {seeds or 'unknown'}")
        for who, (median, ends, deviation) in (("ensemble", rest[:3]), ("single", rest[3:])):
            found.append(f"  {who:<9} median {median} %, {ends}, standard deviation {deviation} points")
    return found
