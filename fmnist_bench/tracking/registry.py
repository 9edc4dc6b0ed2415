"""The ensemble in MLflow's model registry: under which name, which version is the champion. Pure functions."""

import re
from collections.abc import Mapping

CHAMPION = "champion"
FINE_TUNED = "fine_tuned"  # tag of an ensemble with members whose accuracy is of before they were trained on
ALIKE = ("data_fingerprint", "train_rows", "validation_rows", FINE_TUNED)  # where these tags are equal it is compared
ACCURACY = "valid_accuracy"


def registered_name(data: str, benchmark: str) -> str:
    """Name the registered model: ``fmnist-ensemble`` for `all`, by the data set and the benchmark for others.

    Parameters
    ----------
    data : str
        Name of the data set.
    benchmark : str

    Returns
    -------
    str
        Such as ``fmnist-ensemble-smoke`` or ``digits-ensemble``.
    """
    stem = "fmnist" if data == "fashion-mnist" else data
    name = f"{stem}-ensemble" if benchmark == "all" else f"{stem}-ensemble-{benchmark}"
    return re.sub(r"[^\w.-]+", "-", name).lstrip("-")  # what begins with one is taken for an option


def is_better(tags: Mapping[str, str], champion: Mapping[str, str] | None) -> bool | None:
    """Say whether a version is better on validation rows than the champion; None where the two cannot be compared.

    Parameters
    ----------
    tags : mapping
        Of the version; the champion's are None where there is none.
    """
    if champion is None:
        return True
    if any(tags.get(name) != champion.get(name) for name in ALIKE) or ACCURACY not in champion:
        return None
    return float(tags[ACCURACY]) > float(champion[ACCURACY])


def describe(name: str, version: str, tags: Mapping[str, str], champion: Mapping[str, str] | None) -> str:
    """Say in one line what became of a version that was registered."""
    accuracy = f"{name} version {version}, validation accuracy {100 * float(tags[ACCURACY]):.2f} %"
    better = is_better(tags, champion)
    if better is None:
        return f"{accuracy}: registered; the champion was chosen or fine-tuned on other rows and stays"
    if better:
        return f"{accuracy}: registered, the new champion"
    return f"{accuracy}: registered; the champion is no worse and stays"
