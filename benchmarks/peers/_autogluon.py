"""AutoGluon's tabular predictor at medium quality, its default; columns are pixels or features."""

import numpy as np
import pandas as pd


def fit(X, y, options):
    from autogluon.tabular import TabularPredictor

    frame = _frame(X).assign(label=y)
    predictor = TabularPredictor(label="label", path=str(options.model), eval_metric="accuracy", verbosity=2)
    predictor.fit(frame, time_limit=options.seconds, presets="medium_quality", num_cpus=options.cores, num_gpus=0)
    answer = {"chosen": str(predictor.model_best), "models": len(predictor.model_names())}
    predictor.delete_models(models_to_keep="best", dry_run=False)
    predictor.save_space()
    return answer


def load(model, options):
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor.load(str(model))
    predictor.persist()
    return lambda X: predictor.predict(_frame(X)).to_numpy()


def _frame(X):
    kept = X if X.dtype == np.uint8 else X.astype(np.float32)
    return pd.DataFrame(kept, columns=[f"f{number}" for number in range(X.shape[1])])
