"""FLAML: its own search for so many seconds, with its defaults."""

import pickle

NEEDED = "automl.pkl"  # to predict


def fit(X, y, options):
    from flaml import AutoML

    automl = AutoML()
    automl.fit(
        X_train=X,
        y_train=y,
        task="classification",
        metric="accuracy",
        time_budget=options.seconds,
        n_jobs=options.cores,
        seed=options.seed,
        log_file_name=str(options.model / "log.json"),
    )
    (options.model / "automl.pkl").write_bytes(pickle.dumps(automl))
    return {"chosen": str(automl.best_estimator)}


def load(model, options):
    return pickle.loads((model / "automl.pkl").read_bytes()).predict
