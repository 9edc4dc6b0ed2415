"""A saved ensemble becomes a `StackedEnsemble` again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist_bench.ensemble.estimator import KEPT, StackedEnsemble
from fmnist_bench.ensemble.saved import read_bundle


def load_ensemble(folder: str | Path, allow_import: Sequence[str] = (), n_jobs: int | None = -1) -> StackedEnsemble:
    """Load an ensemble that a benchmark, or `StackedEnsemble.save`, has saved.

    Parameters
    ----------
    folder : str or Path
        The folder that ``run`` prints, ``mlruns/runs/.../ensemble``.
    allow_import : sequence of str
        Prefixes of further types that members may be made of.
    n_jobs : int or None
        Members that predict side by side: as many as there are cores by default, None for one at a time.

    Raises
    ------
    InputError
        Where a file is missing, has changed, or holds a type that is not trusted.
    """
    manifest, models, stacker = read_bundle(Path(folder), allow_import)
    members = list(zip([entry["name"] for entry in manifest["members"]], models, strict=True))
    ensemble = StackedEnsemble(members, n_jobs=n_jobs, **{name: manifest[name] for name in KEPT if name in manifest})
    ensemble.members_, ensemble.stacker_, ensemble.classes_ = members, stacker, np.array(manifest["classes"])
    ensemble.encoded_ = manifest.get("encoded", False)
    ensemble.class_names_ = list(manifest.get("class_names") or map(str, ensemble.classes_))
    ensemble.weights_ = np.array([entry["weight"] for entry in manifest["members"]])
    ensemble.temperature_ = float(manifest["temperature"])
    ensemble.member_temperatures_ = np.array([entry["temperature"] for entry in manifest["members"]])
    ensemble.n_features_in_, ensemble.pixels_ = int(manifest["n_features_in"]), bool(manifest["pixels"])
    ensemble.image_shape_ = tuple(manifest.get("image_shape") or ()) or None
    ensemble.background_, ensemble.data_fingerprint_ = manifest.get("background"), str(manifest.get("fingerprint", ""))
    if columns := manifest.get("feature_names_in"):
        ensemble.feature_names_in_ = np.array(columns, dtype=object)
    return ensemble
