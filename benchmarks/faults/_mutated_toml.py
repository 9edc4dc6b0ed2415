"""Mutated studies and benchmarks: values, keys and tables exchanged, then bytes."""

import random
import re
from collections.abc import Callable
from pathlib import Path

from _campaign import STUDIES
from _mutated_files import change_bytes

from fmnist_bench.config.checking import check_study
from fmnist_bench.config.loader import load_benchmark
from fmnist_bench.search._optuna_space import check_drawing

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ("inf", "-inf", "nan", "0", "-0.0", "-1", "1", "1e308", "-1e308", "1e-320", "9" * 30, "9" * 5000, "0x10")
VALUES = (
    *NUMBERS,
    *('"None"', '""', '"auto"', '"\\u0000"', '"\\u001b[2J"', '"../x"', '"a/b"', '"' + "x" * 5000 + '"', "'é'"),
    *("true", "false", "1979-05-27T07:32:00Z", "07:32:00", "[]", "{}", "[[]]", "[1, 'a', 2.5]", "[nan]", "{ a = {} }"),
    *("{ none = true }", "{ low = 1, high = inf }", "{ low = 0, high = 1, log = true }", "{ low = 1, high = 0 }"),
    *("{ low = 1, high = 9, step = 0 }", "{ low = 1.0, high = 9.0, step = 1e-320 }", "{ low = 'a', high = 'b' }"),
    *("{ low = -1e308, high = 1e308 }", "{ low = 1, high = 99999999999999999999 }", "{ low = true, high = 2 }"),
    *("{ choices = [] }", "{ choices = [nan, nan] }", "{ choices = [[1], [1, 2]] }", "{ choices = [{ a = 1 }] }"),
    *('{ use = "sklearn.svm.SVC" }', '{ use = "os.system" }', '{ use = "" }', '{ use = "sklearn" }', '"sklearn..x"'),
    *('"sklearn.ensemble.VotingClassifier"', '"sklearn.decomposition.PCA"', "[" * 3000 + "]" * 3000),
)


def texts() -> list[tuple[str, str]]:
    """Studies and benchmarks as they are shipped and as the campaign runs them, with the ends of their names."""
    shipped = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "studies").glob("*.toml"))]
    benchmarks = [(ROOT / "benchmarks" / f"{name}.toml").read_text(encoding="utf-8") for name in ("all", "smoke")]
    small = 'data = "digits"\nrows = 500\nvalid_size = 0.2\nseed = 3\nbudget = "5m"\ntrials = 2\naugment = true\n'
    small += 'studies = ["bayes", "tree", "ladder"]\n[ensemble]\nmax_members = 3\nper_arm = 2\nmax_latency = 1.5\n'
    return [("s.toml", text) for text in (*shipped, *STUDIES.values())] + [
        ("b.toml", text) for text in (*benchmarks, small)
    ]


def make_toml(sources: list[tuple[str, str]], chance: random.Random) -> tuple[str, Callable[[], object]]:
    name, text = chance.choice(sources)
    for _ in range(chance.choice((1, 1, 1, 2))):
        text = chance.choice(TOML_CHANGES)(text, chance)
    content = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.15:
        content = change_bytes(content, chance)

    def use() -> None:
        Path(name).write_bytes(content)
        for study in load_benchmark(name).studies:
            check_drawing(study)
            check_study(study)

    return content.decode("latin-1"), use


def _new_value(text: str, chance: random.Random) -> str:
    """Replace what stands behind an equals sign, or a number or word within it."""
    pattern = chance.choice((r"(?<== )[^\n]+", r"(?<== )[^\n]+", r"-?\b\d[\d.e-]*", r'"[^"\n]*"', r"\b(true|false)\b"))
    return _replace(text, pattern, chance.choice(VALUES), chance)


def _new_key(text: str, chance: random.Random) -> str:
    """Replace a key by another one of the text, or by what is none."""
    keys = ("use", "low", "name", "alone", "model__x", "features__x__y", '""', "a.b", "none", "rows", "budget", "seed")
    return _replace(
        text,
        chance.choice((r"(?m)^[\w.-]+(?= =)", r"\b(low|high|log|step|choices)\b(?= =)")),
        chance.choice(keys),
        chance,
    )


def _new_header(text: str, chance: random.Random) -> str:
    """Replace the name of a table."""
    names = (
        "[model]",
        "[[model]]",
        "[model.x]",
        "[[default]]",
        "[known]",
        "[fidelity]",
        "[search]",
        "[resources]",
        "[[features]]",
        "[augment]",
        "[ensemble]",
        "[x]",
    )
    return _replace(text, r"(?m)^\[+[\w.]+\]+", chance.choice(names), chance)


def _new_line(text: str, chance: random.Random) -> str:
    """Insert a line."""
    lines = text.splitlines(keepends=True)
    keys = (
        "use",
        "rows",
        "n_estimators",
        "random_state",
        "memory",
        "verbose",
        "studies",
        "gpus",
        "oracle",
        "alone",
        "x",
    )
    line = f"{chance.choice(keys)} = {chance.choice(VALUES)}\n"
    lines.insert(chance.randint(0, len(lines)), chance.choice((line, chance.choice(lines or ["\n"]))))
    return "".join(lines)


def _replace(text: str, pattern: str, new: str, chance: random.Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    one = chance.choice(found)
    return text[: one.start()] + new + text[one.end() :]


TOML_CHANGES = (_new_value, _new_value, _new_value, _new_key, _new_header, _new_line)
