"""What others may do to the files of a finished run, and what it should come to."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Change = Callable[[Path], object]  # of a file or folder
ZEROS = 300 * 2**20  # bytes that a bomb is inflated to


@dataclass(frozen=True)
class Damage:
    """A change of one file, or of those that a pattern names, below the folder of results; and the right end."""

    pattern: str
    change: Change
    status: int = 0
    spaces: tuple[str, ...] = ("bayes", "tree")


def _cut(share: float) -> Change:
    return lambda path: os.truncate(path, int(share * path.stat().st_size))


def written(text: str) -> Change:
    return lambda path: path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda path: path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def _key(name: str, value: object) -> Change:
    """Change a value of a JSON file; of the tables within it, too."""

    def change(path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        for table in (content, content.get("result", {})):
            if name in table:
                table[name] = value
        path.write_text(json.dumps(content), encoding="utf-8")

    return change


def _array(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def apply(path: Path) -> None:
        found = change(np.load(path))
        path.unlink()
        np.save(path, found)

    return apply


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink()  # the ensemble has second names of models
    path.write_bytes(content)


def bomb(path: Path) -> None:
    path.unlink(missing_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x_train.npy", "w") as file:
        for _ in range(ZEROS >> 20):
            file.write(bytes(2**20))


def _exchange(path: Path) -> None:
    """Exchange the file with that of the next trial."""
    other = path.parent.with_name(str(int(path.parent.name) + 1)) / path.name
    content = path.read_bytes(), other.read_bytes()
    for target, text in zip((other, path), content, strict=True):
        target.unlink()
        target.write_bytes(text)


def _replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("a file")


def _unlink(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


JOURNAL, RUN = "runs/*/optuna.journal", "runs/*/run.json"
ONE, RECORD = "runs/*/trials/bayes/0", "runs/*/trials/bayes/0/trial.json"
PROBABILITIES, MODEL = f"{ONE}/valid_probabilities.npy", "runs/*/trials/bayes/*/model.skops"
ORACLE = "runs/*/oracle/*.json"
STATE = {
    "journal gone": Damage(JOURNAL, _unlink),
    "journal emptied": Damage(JOURNAL, _cut(0)),
    "journal cut at 60 %": Damage(JOURNAL, _cut(0.6)),
    "journal cut at 97 %": Damage(JOURNAL, _cut(0.97)),
    "journal ends in garbage": Damage(JOURNAL, _lines(lambda lines: [*lines, b"garbage\n"])),
    "journal ends in half a line": Damage(JOURNAL, _lines(lambda lines: [*lines, b'{"op_code": 4'])),
    "journal with an empty line": Damage(JOURNAL, _lines(lambda lines: [*lines[:5], b"\n", *lines[5:]])),
    "journal with a line of NULs": Damage(JOURNAL, _lines(lambda lines: [*lines[:5], bytes(80) + b"\n", *lines[6:]])),
    "journal without a line": Damage(JOURNAL, _lines(lambda lines: [*lines[:7], *lines[8:]])),
    "journal in another order": Damage(JOURNAL, _lines(lambda lines: lines[::-1])),
    "journal twice": Damage(JOURNAL, _lines(lambda lines: lines * 2)),
    "journal of numbers": Damage(JOURNAL, written("1\n2\n3\n")),
    "journal is a folder": Damage(JOURNAL, lambda path: (path.unlink(), path.mkdir())),
    "oracle gone": Damage(ORACLE, _unlink, spaces=("asker", "bayes")),
    "oracle emptied": Damage(ORACLE, _cut(0), spaces=("asker", "bayes")),
    "oracle cut": Damage(ORACLE, _cut(0.5), spaces=("asker", "bayes")),
    "oracle of another shape": Damage(ORACLE, written('{"asked": 7}'), spaces=("asker", "bayes")),
    "oracle nested deep": Damage(ORACLE, written("[" * 100_000), spaces=("asker", "bayes")),
    "probabilities cut": Damage(PROBABILITIES, _cut(0.5)),
    "probabilities emptied": Damage(PROBABILITIES, _cut(0)),
    "probabilities gone": Damage(PROBABILITIES, _unlink),
    "probabilities of fewer classes": Damage(PROBABILITIES, _array(lambda p: p[:, :9])),
    "probabilities of more classes": Damage(PROBABILITIES, _array(lambda p: np.hstack([p, 0 * p[:, :1]]))),
    "probabilities of fewer rows": Damage(PROBABILITIES, _array(lambda p: p[1:])),
    "probabilities not numbers": Damage(PROBABILITIES, _array(lambda p: np.nan * p)),
    "probabilities complex": Damage(PROBABILITIES, _array(lambda p: p + 1j)),
    "probabilities of text": Damage(PROBABILITIES, _array(lambda p: p.astype(str))),
    "probabilities exchanged": Damage(PROBABILITIES, _exchange),
    "probabilities are a pickle": Damage(PROBABILITIES, lambda path: path.write_bytes(pickle.dumps(1))),
    "probabilities are a bomb": Damage(PROBABILITIES, bomb),
    "models gone": Damage(MODEL, _unlink),
    "models emptied": Damage(MODEL, _cut(0)),
    "models cut": Damage(MODEL, _cut(0.5)),
    "models with a byte changed": Damage(MODEL, _flip),
    "models are bombs": Damage(MODEL, bomb),
    "models exchanged": Damage(f"{ONE}/model.skops", _exchange),
    "result.json of garbage": Damage(f"{ONE}/result.json", written("garbage")),
    "record gone": Damage(RECORD, _unlink),
    "record emptied": Damage(RECORD, _cut(0)),
    "record cut": Damage(RECORD, _cut(0.7)),
    "record is a list": Damage(RECORD, written("[]")),
    "record nested deep": Damage(RECORD, written("[" * 100_000)),
    "record of a word as number": Damage(RECORD, _key("seconds", "many")),
    "record of a list as number": Damage(RECORD, _key("ended", [1])),
    "record of an accuracy above 1": Damage(RECORD, _key("accuracy", 2.0)),
    "record of no accuracy": Damage(RECORD, _key("accuracy", None)),
    "record of an accuracy that is no number": Damage(RECORD, _key("accuracy", float("nan"))),
    "record of a log loss that is no number": Damage(RECORD, _key("log_loss", float("nan"))),
    "record of another status": Damage(RECORD, _key("status", "won")),
    "record of a share of 0": Damage(RECORD, _key("schedule_share", 0.0)),
    "record of endless seconds": Damage(RECORD, _key("seconds", float("inf"))),
    "record of negative seconds": Damage(RECORD, _key("fit_seconds", -1e9)),
    "record of a lone surrogate": Damage(RECORD, _key("reason", "\ud800")),
    "record of other parameters": Damage(RECORD, _key("parameters", {"model__var_smoothing": 0.02})),
    "record of strange parameters": Damage(RECORD, _key("parameters", {"model__no": [{}]})),
    "record of a rung beyond all": Damage(RECORD, _key("rung", 99)),
    "record exchanged": Damage(RECORD, _exchange),
    "a trial gone": Damage(ONE, _unlink),
    "a study gone": Damage("runs/*/trials/bayes", _unlink),
    "a study is a file": Damage("runs/*/trials/bayes", _replace_by_file, 2),
    "a trial is a file": Damage(ONE, _replace_by_file),
    "run.json is {}": Damage(RUN, written("{}"), 2),
    "run.json is []": Damage(RUN, written("[]"), 2),
    "run.json emptied": Damage(RUN, _cut(0), 2),
    "run.json of bytes": Damage(RUN, lambda path: path.write_bytes(b"\xff\xfe"), 2),
    "run.json nested deep": Damage(RUN, written("[" * 100_000), 2),
    "run.json without unlogged": Damage(RUN, _key("unlogged", None), 2),
    "run.json of negative seconds": Damage(RUN, _key("seconds", -1.0), 2),
    "run.json of other MLflow runs": Damage(RUN, _key("mlflow_run", "0" * 32)),
    "split gone": Damage("runs/*/split.npz", _unlink),
    "split cut": Damage("runs/*/split.npz", _cut(0.5)),
    "split is a bomb": Damage("runs/*/split.npz", bomb),
    "manifest of garbage": Damage("runs/*/ensemble/manifest.json", written("garbage")),
    "member cut": Damage("runs/*/ensemble/*.skops", _cut(0.5)),
    "ensemble gone": Damage("runs/*/ensemble", _unlink),
    "report gone": Damage("runs/*/report.html", _unlink),
    "cache gone": Damage("cache", _unlink),
    "rows emptied": Damage("cache/rows-*/X.npy", _cut(0)),
    "rows cut": Damage("cache/rows-*/X.npy", _cut(0.5)),
    "rows changed": Damage("cache/rows-*/X.npy", _array(lambda X: 255 - X)),
    "labels of other rows": Damage("cache/rows-*/y.npy", _array(lambda y: (y + 1) % 10)),
    "labels of too many classes": Damage("cache/rows-*/y.npy", _array(lambda y: y * 1000)),
    "database gone": Damage("mlflow.db", _unlink),
    "database emptied": Damage("mlflow.db", _cut(0)),
    "database of garbage": Damage("mlflow.db", written("garbage " * 1000), 2),
    "database cut": Damage("mlflow.db", _cut(0.5), 2),
    "artifacts gone": Damage("artifacts", _unlink),
}
