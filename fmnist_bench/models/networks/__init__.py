"""Keras networks as scikit-learn classifiers: `KerasClassifier` is the base of all, a user's own included.

Training, batches, precision and saved files are modules of their own, used by every network.
"""
