"""A data set of one's own: arrays in an .npz, a benchmark on it, and its ensemble.

    python examples/own_data.py

Any height and width, gray or colour, any number of classes. The test rows are opened by the report alone.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from fmnist_bench import load_ensemble, run_benchmark

digits = load_digits()
images = (digits.images * 15).astype(np.uint8)  # (1797, 8, 8), whole numbers from 0 to 255
np.savez(
    "my_digits.npz",
    x_train=images[:1400],
    y_train=digits.target[:1400],
    x_test=images[1400:],
    y_test=digits.target[1400:],
)

outcome = run_benchmark(Path(__file__).with_name("study.toml"), data="my_digits.npz", trials=2)
ensemble = load_ensemble(outcome.folder / "ensemble")
print(
    f"{outcome.folder / 'report.html'}: {len(ensemble.members_)} members, first images {ensemble.predict(images[:5])}"
)
