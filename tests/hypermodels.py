"""HyperModels as users write them, for the tests of how they are searched."""

import keras
import keras_tuner


class Conditional(keras_tuner.HyperModel):
    """A choice of two small networks, each with a scope of its own."""

    def __init__(self, n_classes=10):
        super().__init__()
        self.n_classes = n_classes

    def build(self, hp):
        kind = hp.Choice("kind", ["dense", "conv"])
        network = keras.Sequential([keras.Input((8, 8, 1))])
        with hp.conditional_scope("kind", ["dense"]):
            if kind == "dense":
                network.add(keras.layers.Flatten())
                network.add(keras.layers.Dense(hp.Int("units", 16, 64, step=16), activation="relu"))
        with hp.conditional_scope("kind", ["conv"]):
            if kind == "conv":
                network.add(keras.layers.Conv2D(hp.Int("filters", 4, 16, sampling="log"), 3, activation="relu"))
                pooled = hp.Boolean("pooled")
                with hp.conditional_scope("pooled", [True]):
                    if pooled:
                        network.add(keras.layers.MaxPooling2D(hp.Fixed("pool", 2)))
                network.add(keras.layers.Flatten())
        network.add(keras.layers.Dense(self.n_classes, activation="softmax"))
        rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
        network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return network


class Layered(keras_tuner.HyperModel):
    """Asks for the units of each layer without a scope, and trains by a `fit` of its own."""

    def declare_hyperparameters(self, hp):
        hp.Choice("batch_size", [32, 64])

    def build(self, hp):
        network = keras.Sequential([keras.Input((64,))])
        for layer in range(hp.Int("layers", 1, 3)):
            network.add(keras.layers.Dense(hp.Int(f"units_{layer}", 8, 32), activation="relu"))
        if hp.Boolean("dropout"):
            network.add(keras.layers.Dropout(hp.Float("share", 0.1, 0.5, step=0.1)))
        network.add(keras.layers.Dense(10))
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        network.compile("adam", loss, metrics=["accuracy"])
        return network

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)


class OneOutput(keras_tuner.HyperModel):
    """One sigmoid for two classes, and no metric."""

    def build(self, hp):
        network = keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten()])
        network.add(keras.layers.Dense(1, activation="sigmoid"))
        network.compile(keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, step=10, sampling="log")), "bce")
        return network


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, inputs):
        return 2 * inputs


class OwnLayer(keras_tuner.HyperModel):
    """Uses a layer of its own, and trains in a loop that nobody watches."""

    def build(self, hp):
        inputs = keras.Input((8, 8, 1))
        outputs = keras.layers.Dense(10)(keras.layers.Flatten()(Doubled()(inputs)))
        return keras.Model(inputs, outputs)

    def fit(self, hp, model, x, y, **kwargs):
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for _ in range(60):
            model.train_on_batch(x, y)


class Plain(keras_tuner.HyperModel):
    """Takes images of any size, and gets its last layer when the labels have been seen."""

    def build(self, hp):
        return keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(hp.Int("units", 16, 32), activation="relu")]
        )

    def fit(self, hp, model, x, y, **kwargs):
        model.add(keras.layers.Dense(int(y.max()) + 1, activation="softmax"))
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        return model.fit(x, y, **kwargs)


class Unbuilt(keras_tuner.HyperModel):
    """Has four outputs, which nobody can see before the network is built by its first rows."""

    def build(self, hp):
        network = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")])
        network.compile("sgd", "sparse_categorical_crossentropy")
        return network


class NoNetwork(keras_tuner.HyperModel):
    """Forgets to return its network."""

    def build(self, hp):
        keras.Sequential([keras.layers.Dense(hp.Int("units", 1, 2))])


class Ambiguous(keras_tuner.HyperModel):
    """Gives one name to two ranges."""

    def build(self, hp):
        kind = hp.Choice("kind", ["a", "b"])
        for name, most in (("a", 8), ("b", 16)):
            with hp.conditional_scope("kind", [name]):
                if kind == name:
                    hp.Int("units", 1, most)
        network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
        network.compile("sgd", "sparse_categorical_crossentropy")
        return network
