"""The plan of the minutes: how much of a run looks and searches, and which networks are trained with the rest.

Pure functions. `docs/explanation/budget.md` explains them on one page.
"""

import math
from collections.abc import Callable

SEARCH_SHARE = 0.3  # of the first half hour for trials, first looks included; the rest trains networks
LATER_SHARE = 0.2  # of what is more: the families need no more time on all rows, and networks go on learning
HALF_HOUR = 1800.0
BOX_SHARE, LEAST_BOX = 0.06, 20.0  # of the time for trials, and seconds, that one network has in look or search
LEAST_EPOCHS = 0.75  # of all train rows; a network that sees fewer learns nothing worth comparing from them
LEAST_TRAINING = 20.0  # seconds; fewer are not worth starting a network for
ENOUGH_EPOCHS, MANY_EPOCHS = 15.0, 30.0  # that each of two networks, and each of more or of fine-tuned ones, must get
MOST_NETWORKS = 4
SCHEDULE_ROOM = 0.75  # of a rung's epochs are enough to train with that rung's regularisation
LONGEST = 4  # times the epochs of the top rung are the most that a network is trained; the clock ends it before


def search_seconds(span: float) -> float:
    """Seconds that look and search have, of the `span` for all trials.

    Examples
    --------
    >>> search_seconds(600.0), search_seconds(7200.0)
    (180.0, 1620.0)
    """
    first = min(span, HALF_HOUR)
    return SEARCH_SHARE * first + LATER_SHARE * (span - first)


def box_seconds(span: float) -> float:
    """Seconds that one network may take in look or search, of the `span` for all trials.

    Its schedule is compressed to end in them, so the look of a network costs the same share on every machine.

    Examples
    --------
    >>> box_seconds(600.0), box_seconds(120.0)
    (36.0, 20.0)
    """
    return max(BOX_SHARE * span, LEAST_BOX)


def has_room(box: float, epoch_seconds: float, embed_seconds: float = 0.0) -> bool:
    """Whether a network learns enough in its `box` of seconds to be compared on all train rows.

    `embed_seconds` are those that its frozen part has to compute first.

    Examples
    --------
    >>> has_room(36.0, 90.0), has_room(36.0, 2.0), has_room(36.0, 2.0, 35.0)
    (False, True, False)
    """
    return box >= embed_seconds + LEAST_EPOCHS * epoch_seconds


def minutes_for_augmentation(epoch_seconds: float) -> int:
    """Minutes of budget from which on a network is compared with and without augmentation.

    Examples
    --------
    >>> minutes_for_augmentation(90.0)
    20
    """
    return math.ceil(LEAST_EPOCHS * epoch_seconds / BOX_SHARE / 60) + 1


def share_out(epochs: float, places: int, speedup: Callable[[int], float]) -> tuple[int, int, float]:
    """Decide how many networks to train.

    One network on all cores, while two would get fewer than fifteen epochs each; three and four where each still gets
    thirty. Past some thirty epochs another network buys more than more epochs (Lakshminarayanan et al., "Deep
    Ensembles", 2017); under fifteen one well-trained network is better than two poor ones.

    Parameters
    ----------
    epochs : float
        That one network would make with one place in all of the time.
    places : int
        Trials that may run at once, at least 1.
    speedup : callable
        How many times faster a network learns with so many places than with one.

    Returns
    -------
    n, places, epochs : int, int, float
        Number of networks; places and epochs of each.

    Examples
    --------
    >>> share_out(5.0, 2, float), share_out(17.0, 2, float), share_out(70.0, 2, float)
    ((1, 2, 10.0), (2, 1, 17.0), (4, 1, 35.0))
    >>> share_out(5.0, 64, lambda places: 1.0)
    (4, 1, 5.0)
    """
    alone = epochs * speedup(places)
    chosen = 1, places, alone
    for n in range(2, MOST_NETWORKS + 1):
        each = max(1, places // n)
        got = epochs * speedup(each) / math.ceil(n / places)
        if got >= (ENOUGH_EPOCHS if n == 2 else MANY_EPOCHS) or got >= alone:
            chosen = n, each, got
    n, each, got = chosen
    return n, each if speedup(each) > 1 else 1, got  # a network of a cluster learns on one machine


def rung_for(epochs: float, rungs: tuple[float, ...]) -> int:
    """Give the highest rung whose schedule so many epochs nearly complete, the lowest where they complete none.

    Examples
    --------
    >>> rung_for(5.0, (2, 6, 14, 35)), rung_for(30.0, (2, 6, 14, 35)), rung_for(0.5, (2, 6, 14, 35))
    (1, 3, 0)
    """
    return max((rung for rung, needed in enumerate(rungs) if SCHEDULE_ROOM * needed <= epochs), default=0)
