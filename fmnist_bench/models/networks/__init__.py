"""Keras networks as scikit-learn classifiers: `KerasClassifier` is the base of all, a user's own included.

Training, batches, precision and saved files are modules of their own, used by every network.
"""

import logging

from fmnist_bench._utils.processes import silent_stderr

with silent_stderr():  # TensorFlow's C++ tells of its kernels and of GPUs before it reads how much it is to tell
    import keras  # noqa: F401

# Each network is traced once, and there are many: TensorFlow takes that for a mistake and says so at length.
logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())
