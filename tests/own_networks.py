"""Networks as users write them, for the tests of what a subclass of KerasClassifier gets."""

import keras

from fmnist_bench.models import KerasClassifier


class Linear(KerasClassifier):
    """No hidden layer."""

    def __init__(self, *, learning_rate=0.1, epochs=6, image_shape=None, random_state=None):
        super().__init__(
            learning_rate=learning_rate,
            epochs=epochs,
            image_shape=image_shape,
            random_state=random_state,
            flip=False,
        )

    def _build(self, image_shape, n_classes):
        return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(n_classes)])


class Unlimited(Linear):
    """Takes no deadline, so that none can compress its schedule."""

    takes_deadline = False


class CutOff(Linear):
    """Says that its schedule is not compressed."""

    compresses_schedule = False
