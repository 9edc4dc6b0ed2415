"""What runs in the environment of a peer: it learns, or predicts with what was learnt; it needs NumPy and the peer."""

import argparse
import importlib
import json
import time
from pathlib import Path

import numpy as np


def main() -> None:
    options = _options()
    peer = importlib.import_module(f"_{options.peer}")
    model = options.model
    if options.what == "fit":
        model.mkdir(parents=True, exist_ok=True)
        X, y = (np.load(options.data / f"{name}.npy") for name in (f"{options.features}_train", "y_train"))
        answer = peer.fit(X, y, options)
    else:
        X = np.load(options.data / f"{options.features}_test.npy")
        predict = peer.load(model, options)
        began = time.monotonic()
        predicted = np.asarray(predict(X)).ravel().astype(np.int64)
        needed = [path for path in model.glob(getattr(peer, "NEEDED", "**/*")) if path.is_file()]
        answer = {"seconds": time.monotonic() - began, "size": sum(path.stat().st_size for path in needed)}
        np.save(options.out, predicted)
    options.answer.write_text(json.dumps(answer or {}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fit", "predict"))
    parser.add_argument("peer")
    parser.add_argument("--features", default="X", help="X are pixels, hog their histograms of gradients")
    for name in ("data", "model", "answer", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rows", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
