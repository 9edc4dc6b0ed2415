import numpy as np
import pytest
from onnx_files import computed
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from fmnist_bench.export.registry import NotExportableError
from fmnist_bench.export.trees import rounded_down
from fmnist_bench.models import XGBoostClassifier

MODELS = {
    "tree": DecisionTreeClassifier(max_depth=6, random_state=0),
    "forest": RandomForestClassifier(10, min_samples_leaf=3, random_state=0),
    "extra trees": ExtraTreesClassifier(10, random_state=0),
    "histograms": HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=7, early_stopping=False),
    "xgboost": XGBoostClassifier(n_estimators=5, max_depth=3, tree_method="hist"),
    "plain xgboost": XGBClassifier(n_estimators=5, max_depth=3),
}


@pytest.mark.parametrize("classes", [10, 2])
@pytest.mark.parametrize("name", MODELS)
def test_trees_agree(digits, name, classes):
    kept = digits.y < classes
    X, y = digits.X[kept].astype(np.float32) / 16, digits.y[kept]
    model = clone(MODELS[name]).fit(X[:300], y[:300])
    np.testing.assert_allclose(computed(model, X), model.predict_proba(X), atol=1e-6)


def test_boosting_that_stopped_early_predicts_with_its_best_round(digits):
    X, y = digits.X.astype(np.float32), digits.y
    model = XGBoostClassifier(n_estimators=60, learning_rate=1.0, early_stopping_rounds=2)
    model.fit(X[:200], y[:200], validation_data=(X[200:400], y[200:400]))
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    np.testing.assert_allclose(computed(model, X), model.predict_proba(X), atol=1e-6)


def test_thresholds_are_rounded_down():
    threshold = np.float64(np.float32(0.1)) - 1e-12
    assert rounded_down(np.array([threshold]))[0] < np.float32(0.1)


def test_boosting_of_another_kind_is_named(digits):
    model = XGBClassifier(n_estimators=2, booster="dart").fit(digits.X[:200], digits.y[:200])
    with pytest.raises(NotExportableError, match="dart"):
        computed(model, digits.X[:10].astype(np.float32))
