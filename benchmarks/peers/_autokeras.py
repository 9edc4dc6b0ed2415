"""AutoKeras' image classifier. It knows no limit of time: a callback ends its search, and the best so far is taken."""

import contextlib
import math
import os
import time

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
END_SECONDS = 20.0  # to save the model
NEEDED = "best.keras"  # to predict


class TimeIsUp(BaseException):
    """Ends the search; KerasTuner goes on with the next trial after an `Exception`."""


def fit(X, y, options):
    import autokeras as ak
    import keras

    deadline = time.monotonic() + options.seconds - END_SECONDS

    class Clock(keras.callbacks.Callback):
        """Keeps the best network by validation accuracy, since a search that is ended keeps none."""

        best, network, last = -math.inf, None, None

        def on_train_batch_end(self, batch, logs=None):
            Clock.last = self.model
            if time.monotonic() > deadline:
                raise TimeIsUp

        def on_epoch_end(self, epoch, logs=None):
            if (found := (logs or {}).get("val_accuracy", -math.inf)) > Clock.best:
                Clock.best = found
                self.model.save(options.model / "best.keras")

        def __deepcopy__(self, memo):
            return Clock()

    classifier = ak.ImageClassifier(
        directory=options.model / "search",
        overwrite=False,
        max_trials=1000,
        seed=options.seed,
        objective="val_accuracy",
    )
    with contextlib.suppress(TimeIsUp):
        classifier.fit(_images(X), y, callbacks=[Clock()], verbose=2)
    if not (options.model / "best.keras").exists():
        Clock.last.save(options.model / "best.keras")
    return {"chosen": f"validation accuracy {Clock.best:.4f}"}


def load(model, options):
    import autokeras as ak
    import keras

    network = keras.models.load_model(model / "best.keras", custom_objects=ak.CUSTOM_OBJECTS)
    return lambda X: network.predict(_images(X), batch_size=256, verbose=0).argmax(axis=1)


def _images(X):
    side = math.isqrt(X.shape[1])
    return X.reshape(-1, side, side, 1).astype(np.float32)
