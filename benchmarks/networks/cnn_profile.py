"""Where the time of training a network goes, by operation of TensorFlow.

    python benchmarks/networks/cnn_profile.py 6conv
    python benchmarks/networks/cnn_profile.py 6conv --keras-normalisation      with Keras' own batch normalisation

One core, batches of 128; prints a table of milliseconds a step.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cnn_speed import BATCH, NETWORKS, estimator  # before TensorFlow, which is quiet then

# isort: split
import keras
import tensorflow as tf

from fmnist_bench._utils.environment import allowed_cores
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.models.networks._layers import FusedBatchNormalization

ROWS = 60 * BATCH  # of an epoch; the second one is looked at
CALLS = ("If", "PartitionedCall", "StatefulPartitionedCall", "While")  # they contain the others


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--keras-normalisation", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, allowed_cores()[-1:])
    if options.keras_normalisation:
        FusedBatchNormalization.call = keras.layers.BatchNormalization.call
    with tempfile.TemporaryDirectory() as folder:
        profile(options.network, folder)
        times = by_operation(Path(folder))
    steps, total = ROWS // BATCH, sum(times.values())
    print("| Operation | ms a step | Share, % |\n| --- | ---: | ---: |")
    for name, picoseconds in times.most_common(14):
        print(f"| {name} | {picoseconds / 1e9 / steps:.2f} | {100 * picoseconds / total:.1f} |")
    print(f"| all | {total / 1e9 / steps:.1f} | 100 |")


def profile(network: str, folder: str) -> None:
    """Train two epochs and write what TensorFlow's profiler sees of the second."""
    data = load_dataset(subset="train")
    X, y = data.X[:ROWS], data.y[:ROWS]

    def monitor(epoch: int, score: float) -> None:
        if epoch == 1:
            tf.profiler.experimental.start(folder)

    estimator(network, epochs=2).fit(X, y, (X[:100], y[:100]), monitor=monitor)
    tf.profiler.experimental.stop()


def by_operation(folder: Path) -> Counter[str]:
    """Sum the picoseconds of each kind of operation inside training steps."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    times: Counter[str] = Counter()
    for path in folder.rglob("*.xplane.pb"):
        space = XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            names = {key: value.name for key, value in plane.event_metadata.items()}
            for event in (event for line in plane.lines for event in line.events):
                name = names[event.metadata_id]
                kind = name.rpartition(":")[2]
                if name.startswith("while/body") and kind not in CALLS:
                    times[kind] += event.duration_ps
    return times


if __name__ == "__main__":
    main()
