"""Pages of the reference that follow from the command line's parser and from the JSON Schemas."""

import os
from pathlib import Path

from fmnist_bench.cli.program import make_parser
from fmnist_bench.config.schemas import NAMES, schema


def write_pages(folder: Path) -> None:
    """Write ``commands.md`` and a page for each schema."""
    folder.mkdir(exist_ok=True)
    (folder / "commands.md").write_text(command_page())
    for name in NAMES:
        (folder / f"{name}.md").write_text(schema_page(schema(name)))


def _table(properties: dict, required: list) -> list[str]:
    lines = ["| key | type | what it is |", "|---|---|---|"]
    for key, value in properties.items():
        must = ", required" if key in required else ""
        lines.append(f"| `{key}` | {_type(value)}{must} | {value.get('description', '')} |")
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


def schema_page(schema: dict) -> str:
    """Write a JSON Schema as Markdown: its keys, then those of each definition, or of each of its variants."""
    lines = _section(schema) if "properties" in schema else []
    named = {part["title"]: part for part in schema.get("oneOf", ())}
    for name, part in {**named, **schema.get("definitions", {})}.items():
        if part.keys() & {"properties", "anyOf", "items", "additionalProperties"}:
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
    items = ["", f"Each: {_type(schema['items'])}."] if "items" in schema else []
    return [schema.get("description", ""), "", *table, *items, *others]


def command_page() -> str:
    """Write the help of every verb as Markdown."""
    os.environ["COLUMNS"] = "100"
    verbs = next(a for a in make_parser()._actions if hasattr(a, "choices") and a.choices)
    parts = [f"## {verb}\n\n```text\n{parser.format_help()}```\n" for verb, parser in verbs.choices.items()]
    return "\n".join(parts)
