"""A fitted `AutoClassifier` as a folder: its ensemble, and what stands between a user's rows and the ensemble."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from fmnist_bench._utils.errors import InputError, one_line
from fmnist_bench._utils.files import write_text
from fmnist_bench.data.arrays import Scale
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.ensemble.saved import check_replaceable, replace_folder

ABOUT, ENSEMBLE = "classifier.json", "ensemble"
Classifier = TypeVar("Classifier")


def save_classifier(model: Any, folder: Path) -> None:
    """Write a fitted model, whole or not at all; see `AutoClassifier.save`."""
    check_is_fitted(model, "ensemble_")
    folder = folder.resolve()
    _check_replaceable(folder)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.ensemble_.save(temporary / ENSEMBLE, model.allow_import)
    write_text(temporary / ABOUT, json.dumps(_about(model), indent=1) + "\n")
    replace_folder(folder, temporary)


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but what `save_classifier` writes."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""} if folder.exists() else set()
    if names not in (set(), {ABOUT, ENSEMBLE}):
        raise InputError(f"{folder}: is there and is no saved classifier; give another folder, or remove it first")
    check_replaceable(folder / ENSEMBLE)


def _about(model: Any) -> dict[str, Any]:
    names = getattr(model, "feature_names_in_", None)
    return {
        "format_version": 1,
        "scale": list(model.scale_),
        "image_shape": model.image_shape_,
        "feature_names_in": None if names is None else list(names),
        "leaderboard": json.loads(model.leaderboard_.to_json(orient="split", double_precision=15)),
    }


def load_classifier(model: Classifier, folder: Path) -> Classifier:
    """Make an unfitted model a fitted one; see `AutoClassifier.load`."""
    fitted: Any = model
    ensemble = load_ensemble(folder / ENSEMBLE, fitted.allow_import)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        black, white = map(float, about["scale"])
        fitted.scale_, shape = Scale(black, white), about["image_shape"]
        fitted.image_shape_ = None if shape is None else tuple(map(int, shape))
        names = about["feature_names_in"]
        fitted.leaderboard_ = pd.DataFrame(**about["leaderboard"]).rename_axis("name")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / ABOUT}: no saved classifier: {one_line(error)}") from error
    fitted.ensemble_, fitted.classes_, fitted.n_features_in_ = ensemble, ensemble.classes_, ensemble.n_features_in_
    if names is not None:
        fitted.feature_names_in_ = np.array(names, dtype=object)
    return model
