"""An ensemble of estimators of one's own, compared with its members by cross-validation.

    python examples/cross_validation.py

Each fold trains the members on a part of its rows, and greedy selection weights them on the rest.
"""

import sys

from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from fmnist_bench import StackedEnsemble, load_dataset

data = load_dataset(*sys.argv[1:2])
X, y = data.X[:1500], data.y[:1500]

members = [
    ("trees", ExtraTreesClassifier(random_state=0)),
    ("neighbours", KNeighborsClassifier(3)),
    ("bayes", GaussianNB()),
]
for name, estimator in [*members, ("ensemble", StackedEnsemble(members, random_state=0))]:
    scores = cross_val_score(estimator, X, y, cv=3)
    print(f"{name}: accuracy {scores.mean():.4f}, from {scores.min():.4f} to {scores.max():.4f} in three folds")
