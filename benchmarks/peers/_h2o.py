"""H2O's AutoML on pixels, for so many seconds, with its defaults; it runs in a Java process."""

import pandas as pd

MEMORY = "8G"
NEEDED = "leader"  # to predict


def fit(X, y, options):
    import h2o
    from h2o.automl import H2OAutoML

    h2o.init(nthreads=options.cores, max_mem_size=MEMORY, ice_root=str(options.model / "ice"))
    frame = _frame(X, options.model / "train.csv", y)
    frame["label"] = frame["label"].asfactor()
    automl = H2OAutoML(max_runtime_secs=int(options.seconds), seed=options.seed)
    automl.train(y="label", training_frame=frame)
    h2o.save_model(automl.leader, path=str(options.model), filename="leader", force=True)
    answer = {"chosen": str(automl.leader.algo), "models": int(automl.leaderboard.nrow)}
    (options.model / "train.csv").unlink()
    h2o.cluster().shutdown()
    return answer


def load(model, options):
    import h2o

    h2o.init(nthreads=options.cores, max_mem_size=MEMORY)
    leader = h2o.load_model(str(model / "leader"))

    def predict(X):
        found = leader.predict(_frame(X, model / "test.csv"))["predict"].as_data_frame().to_numpy()
        h2o.cluster().shutdown()
        return found

    return predict


def _frame(X, path, y=None):
    import h2o

    table = pd.DataFrame(X, columns=[f"f{number}" for number in range(X.shape[1])])
    (table if y is None else table.assign(label=y)).to_csv(path, index=False)
    return h2o.import_file(str(path))
