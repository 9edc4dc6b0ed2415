"""Support vector machine that predicts with matrix products, and whose scores are log likelihoods."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from scipy.special import log_expit
from sklearn import svm
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

_BATCH = 1000  # rows of the kernel matrix at a time: bounds the memory
_SLOPE = 4.0  # of the sigmoid: where accuracy and log loss are near their best


class SVC(svm.SVC):  # type: ignore[misc]
    """`sklearn.svm.SVC` for many dense rows and a Gaussian kernel, with other scores of more than two classes.

    libsvm goes through the support vectors row by row; here the kernel is a matrix product: ten thousand rows in 1.8 s
    instead of 9.1 after 40,000 train rows (`benchmarks/models/svm.md`). The margins between pairs of classes are the
    same up to rounding. Where scikit-learn counts votes, a class here scores the sum of ``log sigmoid(4 margin)`` over
    its pairs, as if the log likelihood of winning all of them: what is chosen is as accurate, and a temperature makes
    good probabilities of the scores (on Fashion-MNIST log loss 0.20 instead of 0.29; slopes from 1 to 8 were tried on
    validation rows). With two classes, sparse rows, another kernel, or the margins asked for
    (``decision_function_shape="ovo"``), everything is scikit-learn's.

    References
    ----------
    Price et al., "Pairwise Neural Network Classifiers with Probabilistic Outputs", NIPS 1994.
    Hastie and Tibshirani, "Classification by Pairwise Coupling", Annals of Statistics 26, 1998.
    """

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Score the classes.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Log likelihoods, at most 0; of two classes `(n,)`, the margin of the second.
        """
        check_is_fitted(self)
        if not self._scores_pairs or issparse(X):
            return super().decision_function(X)  # type: ignore[no-any-return]
        margins = self._margins(validate_data(self, X, reset=False, dtype=np.float64))
        scores = np.zeros((len(margins), len(self.classes_)))
        for (i, j), margin in zip(_pairs(self.classes_), margins.T, strict=True):
            scores[:, i] += log_expit(_SLOPE * margin)
            scores[:, j] += log_expit(-_SLOPE * margin)
        return scores

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Choose the class of the highest score.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        check_is_fitted(self)
        if not self._scores_pairs or issparse(X):
            return super().predict(X)  # type: ignore[no-any-return]
        labels: npt.NDArray[Any] = self.classes_[self.decision_function(X).argmax(axis=1)]
        return labels

    @property
    def _scores_pairs(self) -> bool:
        return (
            self.kernel == "rbf"
            and self.decision_function_shape == "ovr"
            and not self.break_ties
            and self.probability is not True
            and not self._sparse
            and len(self.classes_) > 2
        )

    def _margins(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the margins of each pair of classes `(n, n_pairs)`, positive for the first of the pair."""
        weights = self._weights_of_pairs()
        kernels = (
            rbf_kernel(rows[part], self.support_vectors_, self._gamma) for part in gen_batches(len(rows), _BATCH)
        )
        return np.concatenate([kernel @ weights + self.intercept_ for kernel in kernels])

    def _weights_of_pairs(self) -> npt.NDArray[np.float64]:
        """Lay libsvm's compressed coefficients out as `(n_support_vectors, n_pairs)`.

        A support vector of class i has one for each other class j, in row j of `dual_coef_`, or j - 1 where j > i.
        """
        ends = np.cumsum(self.n_support_)
        own = [slice(end - n, end) for end, n in zip(ends, self.n_support_, strict=True)]
        pairs = list(_pairs(self.classes_))
        weights = np.zeros((self.dual_coef_.shape[1], len(pairs)))
        for k, (i, j) in enumerate(pairs):
            weights[own[i], k] = self.dual_coef_[j - 1, own[i]]
            weights[own[j], k] = self.dual_coef_[i, own[j]]
        return weights


def _pairs(classes: npt.NDArray[Any]) -> combinations[tuple[int, ...]]:
    return combinations(range(len(classes)), 2)
