"""`data NAME` counts, shows examples, and says what would flatter a report."""

import numpy as np
from PIL import Image

from fmnist_bench.cli import main
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.describe import COLUMNS, describe, near_copies

IMAGES = np.random.default_rng(1).integers(0, 256, (40, 6, 6)).astype(np.uint8)
LABELS = np.arange(40) % 2


def write(folder, **changes):
    arrays = {"x_train": IMAGES[:30], "y_train": LABELS[:30], "x_test": IMAGES[30:], "y_test": LABELS[30:]}
    np.savez(folder / "own.npz", **arrays | changes)
    return folder / "own.npz"


def test_examples_are_drawn_a_class_a_line(tmp_path, examples):
    path = write(tmp_path, x_train=IMAGES[:20], y_train=np.repeat([0, 1], [14, 6]))
    line = describe(path).splitlines()[-1]
    (picture,) = examples.iterdir()
    assert line == f"  examples     {picture} (a class a line)"
    drawn = np.asarray(Image.open(picture))
    assert drawn.shape == (2 * 6, COLUMNS * 6)
    np.testing.assert_array_equal(drawn[:6, 6:12], IMAGES[1])
    np.testing.assert_array_equal(drawn[6:, 30:36], IMAGES[19])
    assert not drawn[6:, 36:].any(), "there are six of this class"


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_data(tmp_path, examples):
    examples.write_text("a file, no folder")
    assert f"  examples     none: {examples}/own-" in describe(write(tmp_path))


def test_copies_are_counted(tmp_path):
    train = np.concatenate([IMAGES[:28], IMAGES[:2]])
    labels = np.r_[LABELS[:28], LABELS[0], 1 - LABELS[1]]
    shown = describe(write(tmp_path, x_train=train, y_train=labels, x_test=np.concatenate([IMAGES[5:8], IMAGES[33:]])))
    assert "  repeated     2 train images are copies of others; 1 images have several labels" in shown.splitlines()
    assert "  overlap      3 of the 10 test images are train images, too" in shown.splitlines()
    assert "repeated" not in describe(write(tmp_path)) and "overlap" not in describe(write(tmp_path))


def test_near_copies_are_counted_where_that_is_asked_for(tmp_path, capsys):
    near = np.clip(IMAGES[:4].astype(int) + 4, 0, 255).astype(np.uint8)
    far = np.clip(IMAGES[4:8].astype(int) + 40, 0, 255).astype(np.uint8)
    path = write(tmp_path, x_test=np.concatenate([near, far]), y_test=LABELS[:8])
    assert "  near  " not in describe(path)
    assert main(["data", str(path), "--near"]) == 0
    assert "  near         4 of the 8 test images differ from a train image by at most 5" in capsys.readouterr().out


def test_near_copies_are_those_of_a_plain_comparison():
    X, other = IMAGES[:15].reshape(15, -1), IMAGES[10:].reshape(30, -1).copy()
    other[::3] ^= 3
    plain = [np.sqrt(((row.astype(float) - X) ** 2).mean(axis=1)).min() <= 5 for row in other]
    assert near_copies(X, other).tolist() == plain and any(plain) and not all(plain)


def test_a_named_data_set_says_where_it_comes_from():
    lines = describe("digits").splitlines()
    assert lines[1].startswith("  what         handwritten digits") and "licence: not stated here" in lines[2]
    assert load_dataset("digits").notes == ()
