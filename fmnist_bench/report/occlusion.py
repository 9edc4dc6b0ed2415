"""Which part of a picture a model looked at: how much less sure it is when a patch is hidden (Zeiler and Fergus, 2014).

It needs nothing of a model but probabilities, so it works for a support vector machine as for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from fmnist_bench._utils.digests import digest_of
from fmnist_bench.ensemble.choose import combination_of
from fmnist_bench.ensemble.usable import Key
from fmnist_bench.report.contestant import Array, Contestant, Mistake, Occlusion
from fmnist_bench.report.findings import Findings
from fmnist_bench.report.predictions import Models

SIDE = 7  # patches down, and across
N_PICTURES = 6  # of each model
MOST_ROWS = 2 * N_PICTURES * SIDE * SIDE  # that each member of the ensemble, and the best single model, predicts


def hidden(image: Array, side: int = SIDE) -> Array:
    """Copy a picture, each time with one patch hidden under the colour that most of its edge has.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width[, 3])
    side : int
        Patches down and across, at least 1; fewer where the picture has fewer pixels.

    Returns
    -------
    ndarray of uint8, shape (patches, height, width[, 3])
        Patches in the order of reading.

    Examples
    --------
    >>> hidden(np.array([[0, 0, 0], [0, 9, 0], [0, 0, 0]]), 3)[4]
    array([[0, 0, 0],
           [0, 0, 0],
           [0, 0, 0]])
    """
    rows, columns = (_spans(length, side) for length in image.shape[:2])
    copies = np.repeat(image[None], len(rows) * len(columns), axis=0)
    places = [(row, column) for row in rows for column in columns]
    colour = np.median(_edge(image), axis=0).astype(image.dtype)
    for copy, (row, column) in zip(copies, places, strict=True):
        copy[row, column] = colour
    return copies


def falls(before: float, after: Array, shape: Sequence[int], side: int = SIDE) -> Array:
    """Give by how much hiding each patch lowers a probability.

    Parameters
    ----------
    before : float
        Of a class, with nothing hidden.
    after : ndarray of shape (patches,)
        Of the same class for the copies that `hidden` made.
    shape : sequence of int
        Of the picture.

    Returns
    -------
    ndarray of shape (patches down, patches across)
        Between -1 and 1; below 0 where the patch spoke for another class.
    """
    return (before - after.astype(np.float64)).reshape(min(side, shape[0]), min(side, shape[1]))


def _spans(length: int, side: int) -> list[slice]:
    ends = np.linspace(0, length, min(side, length) + 1).round().astype(int)
    return [slice(*pair) for pair in pairwise(ends)]


def _edge(image: Array) -> Array:
    """Give the pixels of the edge, of shape (n[, 3])."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def occlusions(
    findings: Findings, models: Models, left: Callable[[], float | None]
) -> tuple[dict[str, tuple[Occlusion, ...]], str]:
    """Ask the ensemble's members and the best single model about copies of the pictures that were mistaken most surely.

    Parameters
    ----------
    findings : Findings
        After the test set was opened; the pictures are of the rows that are measured.
    models : Models
    left : callable
        Tells how many seconds there are for it; None without a limit.

    Returns
    -------
    maps : dict of str to tuple of Occlusion
        By the name of the contestant, its surest mistake first.
    why_not : str
        Why there are none; empty where there are some, or no mistakes.
    """
    if findings.fine_tuned and not findings.opened:
        return {}, "the networks have learnt from the validation rows by now, and are surer of them"
    shown = {who.name: (who, findings.mistakes(who, N_PICTURES)) for who in findings.explained}
    rows = sorted({one.row for _, found in shown.values() for one in found})
    if not rows or findings.X is None:
        return {}, ""
    keys = sorted({key for who, _ in shown.values() for key in _asked(findings, who)})
    copies = {row: hidden(picture) for row in rows if (picture := findings.image(row)) is not None}
    X = np.concatenate(list(copies.values())).reshape(sum(map(len, copies.values())), -1)
    needed, there = models.seconds(keys, len(X)), left()
    if there is not None and there < needed:
        return {}, f"they would have taken about {needed:.0f} s, and {there:.0f} s were left"
    file = f"occluded_probabilities-{digest_of('', X)[:16]}.npy"
    predicted, faults = models.predict(keys, X, file, len(findings.class_names))
    if faults:
        (study, number), reason = next(iter(faults.items()))
        return {}, f"{study}, trial {number}: {reason}"
    places = dict(zip(rows, np.arange(len(X)).reshape(len(rows), -1), strict=True))
    maps = {name: _maps(findings, models, who, found, predicted, places) for name, (who, found) in shown.items()}
    return maps, ""


def _asked(findings: Findings, who: Contestant) -> list[Key]:
    """Name the trials whose models make a contestant's prediction."""
    return [(who.name, who.trial)] if who.trial is not None else [(study, n) for study, n, _ in findings.members]


def _maps(
    findings: Findings,
    models: Models,
    who: Contestant,
    found: Sequence[Mistake],
    predicted: Mapping[Key, Array],
    places: Mapping[int, Array],
) -> tuple[Occlusion, ...]:
    members = np.stack([predicted[key] for key in _asked(findings, who)])
    probabilities = combination_of(models.run).apply(members) if who.trial is None else members[0]
    return tuple(
        Occlusion(one, falls(one.confidence, probabilities[places[one.row], one.predicted], findings.image_shape))
        for one in found
    )
