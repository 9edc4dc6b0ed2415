"""How Sphinx builds these pages; `sphinx-build -W docs docs/_build` fails on any warning."""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fmnist_bench import __version__  # noqa: E402
from fmnist_bench.cli import _parser  # noqa: E402
from fmnist_bench.schemas import NAMES, schema_file  # noqa: E402

project, author, release = "fmnist_bench", "the authors of fmnist_bench", __version__
copyright = f"{author}, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build", "_generated"]
html_theme, html_title = "furo", "fmnist_bench"
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
napoleon_google_docstring = False
napoleon_use_ivar = True  # an attribute is described by its class, once
autodoc_typehints = "none"  # numpydoc says the types in words
autodoc_inherit_docstrings = False


def _table(properties: dict, required: list) -> list[str]:
    lines = ["| key | type | what it is |", "|---|---|---|"]
    for key, value in properties.items():
        must = ", required" if key in required else ""
        what = value.get("description") or f"see [{_target(value)}](#{_target(value)})"
        lines.append(f"| `{key}` | {_type(value)}{must} | {what} |")
    return lines


def _target(value: dict) -> str:
    return value["$ref"].rpartition("/")[2]


def _type(value: dict) -> str:
    if "$ref" in value:
        return f"[{_target(value)}](#{_target(value)})"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(map(_type, value["anyOf"]))
    kinds = value.get("type", "")
    kind = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    return f"{kind} of {_type(value['items'])}" if "items" in value else kind


def _schema_page(schema: dict) -> str:
    """Write a JSON Schema as Markdown: its keys, then those of each definition, or of each of its variants."""
    lines = _section(schema) if "properties" in schema else []
    named = {part["title"]: part for part in schema.get("oneOf", ())}
    for name, part in {**named, **schema.get("definitions", {})}.items():
        if "properties" in part or "anyOf" in part:
            shown = {**part, "properties": _own(part.get("properties", {})) if named else part.get("properties", {})}
            lines += ["", f"## {name}", "", *_section(shown)]
    return "\n".join(lines) + "\n"


def _own(properties: dict) -> dict:
    """Leave out what every event has."""
    return {key: value for key, value in properties.items() if key not in ("event", "time")}


def _section(schema: dict) -> list[str]:
    table = _table(schema["properties"], schema.get("required", [])) if schema.get("properties") else []
    rest = schema.get("additionalProperties")
    others = ["", f"Any other key: {_type(rest)}. {rest.get('description', '')}"] if isinstance(rest, dict) else []
    return [schema.get("description", ""), "", *table, *others]


def _command_page() -> str:
    os.environ["COLUMNS"] = "100"
    verbs = next(a for a in _parser()._actions if hasattr(a, "choices") and a.choices)
    parts = [f"## {verb}\n\n```text\n{parser.format_help()}```\n" for verb, parser in verbs.choices.items()]
    return "\n".join(parts)


(HERE / "_generated").mkdir(exist_ok=True)
for _name in NAMES:
    (HERE / "_generated" / f"{_name}.md").write_text(_schema_page(json.loads(schema_file(_name).read_text())))
(HERE / "_generated" / "commands.md").write_text(_command_page())
