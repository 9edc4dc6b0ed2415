"""H2O's AutoML on pixels, for so many seconds, with its defaults; it runs in a Java process, which ends with this."""

import socket

import pandas as pd

MEMORY = "8G"  # of Java at most; XGBoost takes its own beside it
NEEDED = "leader"  # to predict


def fit(X, y, options):
    import h2o
    from h2o.automl import H2OAutoML

    _begin(options)
    frame = _frame(X, options.model / "train.csv", y)
    frame["label"] = frame["label"].asfactor()
    automl = H2OAutoML(max_runtime_secs=int(options.seconds), seed=options.seed)
    automl.train(y="label", training_frame=frame)
    h2o.save_model(automl.leader, path=str(options.model), filename="leader", force=True)
    (options.model / "train.csv").unlink()
    return {"chosen": str(automl.leader.algo), "models": int(automl.leaderboard.nrow)}


def load(model, options):
    import h2o

    _begin(options)
    leader = h2o.load_model(str(model / "leader"))
    return lambda X: leader.predict(_frame(X, model / "test.csv"))["predict"].as_data_frame().to_numpy()


def _begin(options):
    """Start Java at a port that is free: at its usual one H2O would join another that runs there."""
    import h2o

    (options.model / "ice").mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ice = str(options.model / "ice")
    h2o.init(port=port, nthreads=options.cores, max_mem_size=MEMORY, ice_root=ice)


def _frame(X, path, y=None):
    import h2o

    table = pd.DataFrame(X, columns=[f"f{number}" for number in range(X.shape[1])])
    (table if y is None else table.assign(label=y)).to_csv(path, index=False)
    return h2o.import_file(str(path))
