"""Labels and probabilities for images, by a saved ensemble."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.image_files import read_images
from fmnist_bench.ensemble.serving import ServedEnsemble
from fmnist_bench.storage.run_folder import ENSEMBLE, MANIFEST

FORMATS = ("table", "csv", "json")


def predict_images(
    sources: str | Path | Sequence[str | Path],
    ensemble: str | Path | None = None,
    mlruns: str | Path = "mlruns",
    allow_import: Sequence[str] = (),
) -> pd.DataFrame:
    """Classify image files.

    Parameters
    ----------
    sources : str, Path, or sequence of them
        PNG or JPEG files, folders of them, ``.npz`` files of images.
    ensemble : str, Path or None
        Folder of a saved ensemble; None takes the newest below `mlruns`.
    mlruns : str or Path
    allow_import : sequence of str
        Prefixes of further types that members may be made of.

    Returns
    -------
    DataFrame
        One row an image: `image`, `label`, `probability`, and a column of probabilities for each class. Its
        ``attrs["ensemble"]`` is the folder of the ensemble.

    Raises
    ------
    InputError
        Where there are no images, or no ensemble, or one of something else than images of 0 to 255.
    """
    places = [Path(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    if not places:
        raise InputError("no images were given")
    if missing := [str(place) for place in places if not place.exists()]:
        raise InputError(f"{missing[0]}: no such file")
    folder = newest_ensemble(Path(mlruns)) if ensemble is None else Path(ensemble)
    served = ServedEnsemble(folder, allow_import)
    if not served.ensemble.pixels_:
        raise InputError(f"{folder}: was not fitted on pixels, whole numbers from 0 to 255, which image files hold")
    read = [read_images(place, served.image_shape, served.background) for place in places]
    names, X = [name for found, _ in read for name in found], np.concatenate([rows for _, rows in read])
    table = served.predict(X)
    table.insert(0, "image", names)
    table.insert(2, "probability", table.iloc[:, 2:].max(axis=1))
    table.attrs["ensemble"] = str(folder)
    return table


def newest_ensemble(mlruns: Path) -> Path:
    """Find the ensemble that was saved last."""
    manifests = sorted(mlruns.glob(f"runs/*/{ENSEMBLE}/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
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
