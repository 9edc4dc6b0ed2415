"""What a study is made of: features, classifiers, networks and augmentations, each an estimator or a transformer.

A study names them by these public names; the rest of the package does not import them.
"""

from typing import TYPE_CHECKING

from fmnist_bench._utils.lazy import exports

if TYPE_CHECKING:
    from fmnist_bench._utils.soft_targets import SoftTargets as SoftTargets
    from fmnist_bench.models.augmentation.classic import ClassicAugmentation as ClassicAugmentation
    from fmnist_bench.models.augmentation.gan import ConditionalGAN as ConditionalGAN
    from fmnist_bench.models.boosting import XGBoostClassifier as XGBoostClassifier
    from fmnist_bench.models.features import ImageFeatures as ImageFeatures
    from fmnist_bench.models.features import PrincipalComponents as PrincipalComponents
    from fmnist_bench.models.networks._base import KerasClassifier as KerasClassifier
    from fmnist_bench.models.networks._muon import Muon as Muon
    from fmnist_bench.models.networks.cnn import CNNClassifier as CNNClassifier
    from fmnist_bench.models.networks.distillation import distill as distill
    from fmnist_bench.models.networks.hypermodel import HyperModelClassifier as HyperModelClassifier
    from fmnist_bench.models.networks.transfer import TransferClassifier as TransferClassifier
    from fmnist_bench.models.splits import HoldOut as HoldOut
    from fmnist_bench.models.svm import SVC as SVC

HOMES = {
    "CNNClassifier": "fmnist_bench.models.networks.cnn",
    "ClassicAugmentation": "fmnist_bench.models.augmentation.classic",
    "ConditionalGAN": "fmnist_bench.models.augmentation.gan",
    "HoldOut": "fmnist_bench.models.splits",
    "HyperModelClassifier": "fmnist_bench.models.networks.hypermodel",
    "ImageFeatures": "fmnist_bench.models.features",
    "KerasClassifier": "fmnist_bench.models.networks._base",
    "Muon": "fmnist_bench.models.networks._muon",
    "PrincipalComponents": "fmnist_bench.models.features",
    "SVC": "fmnist_bench.models.svm",
    "SoftTargets": "fmnist_bench._utils.soft_targets",
    "TransferClassifier": "fmnist_bench.models.networks.transfer",
    "XGBoostClassifier": "fmnist_bench.models.boosting",
    "distill": "fmnist_bench.models.networks.distillation",
}
__all__ = [*HOMES]
__getattr__, __dir__ = exports(__name__, HOMES)
