"""Text of others within Markdown, where it must be shown and not obeyed."""

import re


def md(value: object) -> str:
    """Make text harmless within a line or table cell of Markdown."""
    return re.sub(r"([\\`*<>|\[\]~])|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(str(value).split()))


def code(value: object) -> str:
    """Set text as a code span, whatever backticks it has."""
    line = " ".join(str(value).split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"


def block(value: object) -> str:
    """Set text as an indented block of code, line by line."""
    return "\n".join(f"    {line}" for line in str(value).splitlines())
