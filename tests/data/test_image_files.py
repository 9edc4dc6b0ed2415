import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.image_files import DARK, read_images
from fmnist_bench.data.pixels import N_EDGES, edge_brightness


def boot(size=(28, 28), background=0, ink=200, mode="L"):
    """Draw an L."""
    pixels = np.full(size, background, np.uint8)
    pixels[4:24, 8:14] = pixels[18:24, 8:22] = ink
    return Image.fromarray(pixels).convert(mode)


def test_an_image_of_the_right_kind_stays_as_it_is(tmp_path):
    boot().save(tmp_path / "boot.png")
    names, X, _ = read_images(tmp_path / "boot.png", (28, 28))
    assert names == [str(tmp_path / "boot.png")]
    assert np.array_equal(X.reshape(28, 28), np.asarray(boot()))


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_a_white_background_becomes_black(tmp_path, mode):
    boot(background=255, ink=0, mode=mode).save(tmp_path / "boot.png")
    _, X, inverted = read_images(tmp_path / "boot.png", (28, 28))
    assert np.array_equal(X.reshape(28, 28), np.asarray(boot(ink=255))) and inverted.tolist() == [True]


@pytest.mark.parametrize("paper", [0, 255])
def test_a_background_becomes_that_of_the_images_that_were_learnt_from(tmp_path, paper):
    boot(background=paper, ink=255 - paper).save(tmp_path / "boot.png")
    bright, mixed = (read_images(tmp_path / "boot.png", (28, 28), edge)[1] for edge in (250.0, 120.0))
    assert np.array_equal(bright.reshape(28, 28), np.asarray(boot(background=255, ink=0)))
    assert np.array_equal(mixed.reshape(28, 28), np.asarray(boot(background=paper, ink=255 - paper)))


def test_what_is_transparent_is_black(tmp_path):
    image = boot(ink=255, mode="RGBA")
    image.putalpha(boot(ink=255))
    image.save(tmp_path / "boot.png")
    _, X, _ = read_images(tmp_path / "boot.png", (28, 28))
    assert np.array_equal(X.reshape(28, 28), np.asarray(boot(ink=255)))


@pytest.mark.parametrize(("background", "ground"), [(0.0, 0), (250.0, 255)])
@pytest.mark.parametrize("ink", [0, 255])
def test_what_is_drawn_on_nothing_does_not_vanish(tmp_path, background, ground, ink):
    image = boot(background=ink, ink=ink, mode="RGBA")
    image.putalpha(boot(ink=255))
    image.save(tmp_path / "drawn.png")
    _, X, _ = read_images(tmp_path / "drawn.png", (28, 28), background)
    assert np.array_equal(X.reshape(28, 28), np.asarray(boot(background=ground, ink=255 - ground)))
    _, mixed, _ = read_images(tmp_path / "drawn.png", (28, 28), 127.5)  # nothing is inverted
    assert np.array_equal(mixed.reshape(28, 28), np.asarray(boot(background=255 - ink, ink=ink)))


def test_other_sizes_keep_their_proportions(tmp_path):
    wide = np.zeros((100, 200), np.uint8)
    wide[20:80, 20:180] = 255
    Image.fromarray(wide).save(tmp_path / "wide.jpg")
    _, X, _ = read_images(tmp_path / "wide.jpg", (28, 28))
    image = X.reshape(28, 28)
    assert image[:6].max() == image[-6:].max() == 0
    assert image[14, 4:24].min() > 200


def test_colour_is_kept_where_it_is_wanted(tmp_path):
    Image.new("RGB", (10, 10), (100, 20, 60)).save(tmp_path / "plain.png")
    _, X, _ = read_images(tmp_path / "plain.png", (10, 10, 3))
    assert np.array_equal(X.reshape(100, 3), np.full((100, 3), (100, 20, 60)))
    assert read_images(tmp_path / "plain.png", (10, 10))[1].shape == (1, 100)


def test_a_file_that_is_far_too_large_is_refused_in_one_line(tmp_path):
    Image.new("L", (10_001, 1)).save(tmp_path / "wide.png")
    with pytest.raises(InputError) as refused:
        read_images(tmp_path / "wide.png", (28, 28))
    assert str(refused.value) == f"{tmp_path}/wide.png: 10001 x 1 pixels, at most 10000 each way"


def test_no_training_image_of_fashion_mnist_would_be_inverted(fashion_mnist):
    train = load_dataset(path=fashion_mnist)
    images = train.X.reshape(-1, 28, 28)
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert len(edges) == 60_000 and edges.mean(axis=1).max() <= 127
    assert edge_brightness(images[:N_EDGES]) < DARK


def test_a_folder_in_order_of_its_names(tmp_path):
    for name in ("b.png", "a.jpg", "c.JPEG"):
        boot().save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    names, X, _ = read_images(tmp_path, (28, 28))
    assert names == [str(tmp_path / name) for name in ("a.jpg", "b.png", "c.JPEG")]
    assert X.shape == (3, 784)


def test_npz_of_images_or_rows(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", x_test=images)
    np.savez(tmp_path / "rows.npz", images.reshape(5, 784) / 255)
    names, X, _ = read_images(tmp_path / "images.npz", (28, 28))
    assert names == [f"{tmp_path}/images.npz[{row}]" for row in range(5)]
    assert np.array_equal(X, read_images(tmp_path / "rows.npz", (28, 28))[1])


@pytest.mark.parametrize("label", [[], ["label"]])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_tables_of_pixels_with_labels_or_without(tmp_path, label, ending):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    frame = pd.DataFrame(images.reshape(5, 784), columns=[f"pixel{i}" for i in range(784)])
    for name in label:
        frame.insert(0, name, 7)
    path = tmp_path / f"test{ending}"
    frame.to_parquet(path) if ending == ".parquet" else frame.to_csv(path, index=False)
    names, X, inverted = read_images(path, (28, 28))
    assert names == [f"{path}[{row}]" for row in range(5)] and not inverted.any()
    assert np.array_equal(X, images.reshape(5, 784))


@pytest.mark.parametrize("n", [784, 785])
def test_tables_without_names_have_labels_first_or_none(tmp_path, n):
    rows = np.random.default_rng(0).integers(0, 256, (3, n)).astype(np.uint8)
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False, header=False)
    assert np.array_equal(read_images(tmp_path / "rows.csv", (28, 28))[1], rows[:, -784:])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a readable table"),
        ("pixel0,pixel1\n1,2\n", "1 rows of 2 pixels, must be 4 columns"),
        ("a,b,c,d\n1,2,3,x\n", "column d holds something else than pixels"),
        ("a,b,c,d\n", "0 rows of 4 pixels"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, content, words):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        read_images(tmp_path / "a.csv", (2, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x_test", "X_test", "test_images", "X", "x", "images"])
def test_images_have_one_of_these_names_or_are_the_only_ones(tmp_path, name):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images[:1], y_test=np.arange(3), **{name: images})
    assert np.array_equal(read_images(tmp_path / "a.npz", (28, 28))[1], images.reshape(3, 784))


def test_among_other_names_nothing_is_guessed(tmp_path):
    images, y = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8), np.arange(3)
    np.savez(tmp_path / "one.npz", labels=y, val_images=images)
    with pytest.warns(UserWarning, match=r"one\.npz: the images are taken from val_images"):
        assert read_images(tmp_path / "one.npz", (28, 28))[1].shape == (3, 784)
    np.savez(tmp_path / "two.npz", train_images=images, val_images=images)
    with pytest.raises(InputError, match=r"two\.npz: train_images, val_images may all be the images; call .* x_test"):
        read_images(tmp_path / "two.npz", (28, 28))
    np.savez(tmp_path / "none.npz", y_test=y, pictures=images[:, 1:])
    with pytest.raises(InputError, match=r"y_test has shape \(3,\), pictures has shape \(3, 27, 28\), must be n x 28"):
        read_images(tmp_path / "none.npz", (28, 28))


def test_fractions_a_little_above_one_keep_their_grays(tmp_path):
    np.savez(tmp_path / "a.npz", np.linspace(0, 1.0000001, 784).reshape(1, 784))
    assert len(np.unique(read_images(tmp_path / "a.npz", (28, 28))[1])) == 256


def test_a_camera_that_was_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    boot().rotate(90).save(tmp_path / "boot.jpg", exif=exif, quality=100)
    _, X, _ = read_images(tmp_path / "boot.jpg", (28, 28))
    assert np.abs(X.reshape(28, 28).astype(int) - np.asarray(boot())).max() < 30


@pytest.mark.parametrize("paper", [0, 65535])
def test_sixteen_bits(tmp_path, paper):
    pixels = np.abs(np.asarray(boot(ink=255)).astype(np.int64) * 257 - paper).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "boot.png")
    _, X, _ = read_images(tmp_path / "boot.png", (28, 28))
    assert np.array_equal(X.reshape(28, 28), np.asarray(boot(ink=255)))


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 784), (3, 28, 28, 1)])
def test_arrays_of_the_shape_that_is_wanted(tmp_path, shape):
    np.savez(tmp_path / "images.npz", np.zeros(shape, bool))
    assert read_images(tmp_path / "images.npz", (28, 28))[1].shape == (3, 784)
    assert read_images(tmp_path / "images.npz", (28, 28, 1))[1].shape == (3, 784)


def test_truth_values_are_black_and_white(tmp_path):
    np.savez(tmp_path / "images.npz", np.eye(28, dtype=bool)[np.newaxis])
    assert set(read_images(tmp_path / "images.npz", (28, 28))[1].ravel()) == {0, 255}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.png", None, "no such file"),
        ("text.png", b"hello", "not a readable image"),
        ("cut.png", "cut", "not a readable image"),
        ("text.npz", b"PK", "not a readable .npz"),
        ("cut.npz", "cut", "not a readable .npz"),
        ("nothing.npz", b"", "not a readable .npz"),
        ("one.npz", "npy", "not a readable .npz"),
        ("no_rows.npz", np.zeros((0, 28, 28)), "must be n x"),
        ("turned.npz", np.zeros((3, 14, 56)), "must be n x"),
        ("channels_first.npz", np.zeros((3, 1, 28, 28)), "must be n x"),
        ("words.npz", np.full((3, 784), "a"), "element type <U1"),
        ("unknown.npz", np.full((3, 784), np.nan), "pixels from nan"),
        ("postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EOF\n", "not a readable image"),
        ("other.npz", np.zeros((3, 10)), "must be n x"),
        ("bright.npz", np.full((3, 784), 300.0), "pixels from 300"),
        ("empty", "folder", "holds no images"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, name, content, words):
    path = tmp_path / name
    if isinstance(content, str) and content == "cut":
        boot().save(path) if name.endswith("png") else np.savez(path, np.zeros((3, 784)))
        path.write_bytes(path.read_bytes()[:-300] if name.endswith("npz") else path.read_bytes()[:60])
    elif isinstance(content, str) and content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros((3, 784)))
    elif isinstance(content, str):
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, content)
    with pytest.raises(InputError, match=words):
        read_images(path, (28, 28))
