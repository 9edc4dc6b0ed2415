"""Why trees split on principal components: accuracy and time with all gradient histograms, and with components.

    python benchmarks/models/components.py > benchmarks/models/components.md

55,000 train rows and 5,000 validation rows of Fashion-MNIST, as a run of ten minutes splits them; one core. XGBoost has
the depth and columns that suit it in each way. No test row is opened.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from fmnist_bench._utils.environment import machine
from fmnist_bench.data.dataset import load_dataset, make_split
from fmnist_bench.models import ImageFeatures, PrincipalComponents, XGBoostClassifier

SEED, N_VALID = 0, 5_000
COMPONENTS = 80


def models(n_features: int) -> Iterator[tuple[str, Any]]:
    """Give each family as its default configuration has it; forests look at as many features a split in both ways."""
    few = n_features <= COMPONENTS
    boosting = {"max_depth": 7, "colsample_bynode": 0.15} if few else {"max_depth": 5, "colsample_bynode": 0.1}
    leaf = {"min_samples_leaf": 3, "random_state": SEED}
    yield (
        "XGBoost",
        XGBoostClassifier(n_estimators=200, learning_rate=0.2, max_bin=32, subsample=0.8, n_jobs=1, **boosting),
    )
    yield "random forest", RandomForestClassifier(100, max_features=0.05 if few else 0.04, **leaf)
    yield "extra trees", ExtraTreesClassifier(100, max_features=0.1, **leaf | {"min_samples_leaf": 5})
    yield "linear SVM", LinearSVC(C=0.03, dual=False, tol=1e-4)
    yield "linear SVM, stops earlier", LinearSVC(C=0.03, dual=False, tol=1e-2)


def main() -> None:
    data = load_dataset("fashion-mnist", "train")
    split = make_split(data.y, N_VALID, SEED)
    histograms = ImageFeatures("hog", orientations=12, cell_size=4)
    train, validation = (histograms.fit_transform(data.X[rows]) for rows in (split.train, split.validation))
    components = PrincipalComponents(COMPONENTS).fit(train)
    ways = {
        f"all {train.shape[1]}": (train, validation),
        f"{COMPONENTS} components": (components.transform(train), components.transform(validation)),
    }
    print("# Trees on principal components of gradient histograms\n")
    print("`python benchmarks/models/components.py`, one core, each once.\n")
    print("\n".join(f"- {name}: {value}" for name, value in machine().items()), end="\n\n")
    print("| model | features | validation accuracy, % | fit, s |\n|---|---|---:|---:|")
    for way, (fit, valid) in ways.items():
        for name, model in models(fit.shape[1]):
            seconds = fitted(model, fit, data.y[split.train])
            accuracy = 100 * np.mean(model.predict(valid) == data.y[split.validation])
            print(f"| {name} | {way} | {accuracy:.2f} | {seconds:.0f} |", flush=True)


def fitted(model: Any, X: Any, y: Any) -> float:
    """Fit on one core; give the seconds."""
    started = time.perf_counter()
    with threadpool_limits(1):
        model.fit(X, y)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
