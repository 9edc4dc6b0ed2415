"""Labels and probabilities for images, by a saved ensemble."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.image_files import read_images
from fmnist_bench.ensemble.pretrained import pretrained_folder
from fmnist_bench.ensemble.serving import ServedEnsemble
from fmnist_bench.storage.run_folder import ENSEMBLE, MANIFEST

FORMATS = ("table", "csv", "json")
MLRUNS = "mlruns"
UNSURE = 0.5  # probability below which a label is rather wrong than right


def predict_images(
    sources: str | Path | Sequence[str | Path],
    ensemble: str | Path | None = None,
    mlruns: str | Path = MLRUNS,
    allow_import: Sequence[str] = (),
    pretrained: str | None = None,
) -> pd.DataFrame:
    """Classify image files.

    Parameters
    ----------
    sources : str, Path, or sequence of them
        PNG or JPEG files, folders of them, ``.npz`` files of images.
    ensemble : str, Path or None
        Folder of a saved ensemble; None takes the newest below `mlruns`. Where the folder ``mlruns`` holds none, the
        ensemble that comes with the package is taken, which classifies clothes.
    mlruns : str or Path
    allow_import : sequence of str
        Prefixes of further types that members may be made of.
    pretrained : str or None
        Name of what comes with the package, see `load_pretrained`, to take that.

    Returns
    -------
    DataFrame
        One row an image: `image`, its path; `label`; `probability`; `inverted`, whether its pixels were; and a column
        of probabilities for each class. Its ``attrs["ensemble"]`` is the folder of the ensemble, or says that it came
        with the package.

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
    folder, said = _chosen(ensemble, mlruns, pretrained)
    served = ServedEnsemble(folder, allow_import)
    if not served.ensemble.pixels_:
        raise InputError(f"{folder}: was not fitted on pixels, whole numbers from 0 to 255, which image files hold")
    read = [read_images(place, served.image_shape, served.background) for place in places]
    table = served.predict(np.concatenate([rows for _, rows, _ in read]))
    table.insert(0, "image", [name for names, _, _ in read for name in names])
    table.insert(2, "probability", table.iloc[:, 2:].max(axis=1))
    table.insert(3, "inverted", np.concatenate([inverted for _, _, inverted in read]))
    table.attrs["ensemble"] = said
    return table


def _chosen(ensemble: str | Path | None, mlruns: str | Path, pretrained: str | None) -> tuple[Path, str]:
    """Find the folder of the ensemble, and what to call it."""
    if ensemble is not None and pretrained is not None:
        raise InputError("an ensemble and a pretrained one were given; must be one of them")
    if ensemble is not None:
        return Path(ensemble), str(ensemble)
    if pretrained is not None:
        return pretrained_folder(pretrained), f"pretrained {pretrained} of fmnist_bench, for Fashion-MNIST's clothes"
    try:
        return (folder := newest_ensemble(Path(mlruns))), str(folder)
    except InputError:
        if Path(mlruns) != Path(MLRUNS):
            raise
    return pretrained_folder(), f"pretrained ensemble of fmnist_bench, for Fashion-MNIST's clothes: {mlruns} holds none"


def newest_ensemble(mlruns: Path) -> Path:
    """Find the ensemble that was saved last."""
    manifests = sorted(mlruns.glob(f"runs/*/{ENSEMBLE}/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise InputError(f"{mlruns}: holds no ensemble; python -m fmnist_bench run all makes one")
    return manifests[-1].parent


def as_text(table: pd.DataFrame, form: str) -> str:
    """Write a table of predictions as `csv`, as `json` (a list of objects), or as `table`: remarks, no classes."""
    if form == "csv":
        return table.to_csv(index=False, float_format="%.6f").rstrip()
    if form == "json":
        return json.dumps(table.round(6).to_dict(orient="records"), indent=1, ensure_ascii=False)
    short = table[["image", "label", "probability"]].assign(**{"": _remarks(table)})
    shown = short if short[""].any() else short.drop(columns="")
    return shown.to_string(index=False, formatters={"probability": "{:.4f}".format})


def _remarks(table: pd.DataFrame) -> list[str]:
    """Say of each image that it was inverted, and that the label is rather wrong than right."""
    unsure = table["probability"] < UNSURE
    return [
        ", ".join([*["unsure"] * bool(doubt), *["inverted"] * bool(was)])
        for doubt, was in zip(unsure, table["inverted"], strict=True)
    ]
