"""What every figure is drawn on: sizes, colours, axes; SVG that follows the page's colours, PNG for the store."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Okabe and Ito (2008), the colours that keep apart for every common kind of colour vision; yellow is
# left out because it vanishes on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINE, DASHED = "-", (0, (4, 1.5))
INK, GREY, GRID = "#24292f", "#868e97", "#dfe3e8"
Parts = Mapping[str, Sequence[str]]  # search space and augmentations of each study, by its name
WIDTH = 4.4  # inches: nine-point text is then as large as a phone's, and two figures stand side by side on a desk
ROW = 0.33  # inches: height of a named row
DOTS = 200  # of PNG, an inch
MAX_POINTS = 20_000  # of one figure: it travels inside a page that has to stay small
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.4g}")


def to_svg(fig: Figure) -> str:
    """Draw a figure as one `<svg>` element. Text stays text; ids carry the label, so that many can share a page."""
    label = str(fig.get_label()) or "figure"
    prefix = re.sub(r"\W+", "-", label.lower()) + "-"
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        fig.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r'(?<= d=")[^"]+', lambda match: re.sub(r"(\.\d)\d+", r"\1", match[0]), svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def themed(svg: str) -> str:
    """Make every colour a CSS variable (`--ink`, `--grid`, `--grey`, `--c0`, ...), the light page's the default."""
    names = {INK: "ink", GRID: "grid", GREY: "grey"} | {colour: f"c{n}" for n, colour in enumerate(PALETTE)}
    for colour, name in names.items():
        svg = svg.replace(f": {colour}", f": var(--{name}, {colour})")
    return svg


def on_white(svg: str) -> str:
    """Make a file of an `<svg>` element that is drawn on nothing."""
    head, rest = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}><rect width="100%" height="100%" fill="white"/>{rest}\n'


def to_png(fig: Figure) -> bytes:
    """Draw a figure as PNG on white."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=DOTS, facecolor="white")
    return out.getvalue()


def study_styles(studies: Sequence[str], parts: Parts | None = None) -> dict[str, dict[str, Any]]:
    """Give each study a colour and line style: one colour for each space, dashed for the study with an augmentation.

    Studies beyond the number of colours are grey, so give first what matters most.
    """
    made_of = {study: (parts or {}).get(study, (study,)) for study in studies}
    spaces = list(dict.fromkeys(space for space, *_ in made_of.values()))
    colour = {space: PALETTE[number] if number < len(PALETTE) else GREY for number, space in enumerate(spaces)}
    return {
        study: {"color": colour[space], "linestyle": DASHED if augments else LINE}
        for study, (space, *augments) in made_of.items()
    }


def figure(label: str, height: float, width: float = WIDTH) -> Figure:
    """Make a figure that no global state knows of; `label` is the title that a screen reader speaks."""
    fig = Figure(figsize=(width, height), layout="constrained")
    fig.set_label(label)
    return fig


def axes(
    fig: Figure,
    place: tuple[int, int, int | tuple[int, int]] = (1, 1, 1),
    xlabel: str = "",
    ylabel: str = "",
    **options: Any,
) -> Axes:
    """Add axes with thin grey lines, left and below alone."""
    ax: Axes = fig.add_subplot(*place, **options)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(which="both", color=GREY, labelcolor=INK, labelsize=9)
    ax.grid(color=GRID, lw=0.8)
    ax.set_axisbelow(True)
    ax.set_xlabel(xlabel, color=INK)
    ax.set_ylabel(ylabel, color=INK)
    return ax


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure from top to bottom, each name above its row: beside it a long one has no room."""
    ax.set_ylim(max(len(names), 1) - 0.4, -0.75)
    ax.set_yticks(range(len(names)))
    ax.tick_params(axis="y", left=False, labelleft=False)
    ax.spines["left"].set_visible(False)
    for place, name in enumerate(names):
        ax.text(0, place - 0.38, plain(name), transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=INK)


def legend(fig: Figure, handles: Sequence[Artist] = ()) -> None:
    """Name above the axes what is drawn, in as few rows as the names allow; the figure grows by their height."""
    handles = handles or fig.axes[0].get_legend_handles_labels()[0]
    names = [shortened(str(handle.get_label()), 48) for handle in handles]
    in_one_row = sum(len(name) + 8 for name in names) <= 60  # eight for the line and the gap
    ncols = len(names) if in_one_row else 2 if max(map(len, names)) <= 22 else 1
    fig.set_figheight(fig.get_figheight() + 0.18 * -(-len(names) // ncols))
    looks: dict[str, Any] = {"frameon": False, "labelcolor": INK, "fontsize": 8.5, "ncols": ncols}
    fig.legend(handles, names, loc="outside upper left", **looks)


def unit_of(seconds: float) -> tuple[float, str]:
    """Give the unit for times up to so many seconds, and its seconds."""
    return (60.0, "minutes") if seconds >= 180 else (1.0, "seconds")


def plain(text: str) -> str:
    """Keep matplotlib from reading a meaning into a name.

    A dollar sign would start mathematics, and a leading underscore would drop a label from the legend.
    """
    text = text.replace("$", r"\$")
    return "\u200b" + text if text.startswith("_") else text


def shortened(name: str, longest: int) -> str:
    """Cut the front of a long name: the end tells studies and parameters apart."""
    return name if len(name) <= longest else "…" + name[1 - longest :]
