"""Keras networks as scikit-learn classifiers: `KerasClassifier` is the base of all, a user's own included.

Training, batches, precision and saved files are modules of their own, used by every network.
"""

from fmnist_bench._utils.processes import silent_stderr

with silent_stderr():  # TensorFlow's C++ tells of its kernels and of GPUs before it reads how much it is to tell
    import keras  # noqa: F401
