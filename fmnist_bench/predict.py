"""Labels and probabilities for images, by a saved ensemble."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fmnist_bench.bundle import MANIFEST
from fmnist_bench.ensemble import load_ensemble
from fmnist_bench.errors import InputError
from fmnist_bench.images import read_images

FORMATS = ("table", "csv", "json")


def predict_images(
    source: str | Path,
    ensemble: str | Path | None = None,
    mlruns: str | Path = "mlruns",
    allow_import: Sequence[str] = (),
) -> pd.DataFrame:
    """Classify image files.

    Parameters
    ----------
    source : str or Path
        A PNG or JPEG file, a folder of them, or an ``.npz`` of images.
    ensemble : str, Path or None
        Folder of a saved ensemble; None takes the newest below `mlruns`.
    mlruns : str or Path
    allow_import : sequence of str
        Prefixes of further types that members may be made of.

    Returns
    -------
    DataFrame
        One row an image: `image`, `label`, `probability`, and a column of probabilities for each class.

    Raises
    ------
    InputError
        Where there are no images, or no ensemble.
    """
    folder = newest_ensemble(Path(mlruns)) if ensemble is None else Path(ensemble)
    model = load_ensemble(folder, allow_import)
    about = json.loads((folder / MANIFEST).read_text())
    names, X = read_images(Path(source), _image_shape(about, folder))
    probabilities = model.predict_proba(X)
    labels = np.asarray(about.get("class_names") or model.classes_)
    best = probabilities.argmax(axis=1)
    table = pd.DataFrame({"image": names, "label": labels[best], "probability": probabilities.max(axis=1)})
    return pd.concat([table, pd.DataFrame(probabilities, columns=[str(label) for label in labels])], axis=1)


def newest_ensemble(mlruns: Path) -> Path:
    """Find the ensemble that was saved last."""
    manifests = sorted(mlruns.glob(f"runs/*/ensemble/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise InputError(f"{mlruns}: holds no ensemble; python -m fmnist_bench run all makes one")
    return manifests[-1].parent


def as_text(table: pd.DataFrame, form: str) -> str:
    """Write a table of predictions as `table` (without the single classes), `csv` or `json` (a list of objects)."""
    if form == "csv":
        return table.to_csv(index=False, float_format="%.6f").rstrip()
    if form == "json":
        return str(table.round(6).to_json(orient="records", indent=1, force_ascii=False))
    short = table[["image", "label", "probability"]]
    return short.to_string(index=False, formatters={"probability": "{:.4f}".format})


def _image_shape(about: dict[str, object], folder: Path) -> Sequence[int]:
    shape = about.get("image_shape")
    if isinstance(shape, list):
        return [int(size) for size in shape]
    n_features = about["n_features_in"]
    assert isinstance(n_features, int)
    side = int(np.sqrt(n_features))
    if side * side != n_features:
        raise InputError(f"{folder}: does not say what shape its images have, and {n_features} is not a square")
    return [side, side]
