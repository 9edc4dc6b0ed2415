"""A folder for each class of PNG or JPEG files is read as people have them, and what is odd is named."""

import re
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from fmnist_bench import runner
from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.describe import describe
from fmnist_bench.data.image_files import read_images
from fmnist_bench.progress.displays import Progress

CLASSES = ("bag", "boot", "coat")
SIDE = 12


def picture(seed, shape=(SIDE, SIDE)):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)


def fill(folder, n=4, shape=(SIDE, SIDE), classes=CLASSES, ending="png", first=0):
    """Write `n` images of each class; return them in the order of their names."""
    images = [picture(first + number, shape) for number in range(n * len(classes))]
    for number, image in enumerate(images):
        save(folder / classes[number // n] / f"{number:03}.{ending}", image)
    return np.array(images)


@pytest.fixture
def parted(tmp_path):
    """A folder with train and test."""
    fill(tmp_path / "wardrobe" / "train", 4)
    fill(tmp_path / "wardrobe" / "test", 2, first=100)
    return tmp_path / "wardrobe"


def refused(path, *words, part="train", **reading):
    with pytest.raises(InputError) as caught:
        load_dataset(path, part, **reading)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(("names", "shape"), [(("train", "test"), (SIDE, SIDE)), (("Training", "testing"), (5, 7, 3))])
def test_train_and_test_folders_are_read_in_order(tmp_path, names, shape):
    train = fill(tmp_path / "own" / names[0], 4, shape)
    test = fill(tmp_path / "own" / names[1], 2, shape, first=50)
    for part, images in (("train", train), ("test", test)):
        data = load_dataset(tmp_path / "own", part)
        np.testing.assert_array_equal(data.X, images.reshape(len(images), -1))
        assert data.name == "own" and data.image_shape == shape and data.notes == ()
        assert data.class_names == CLASSES and data.y.tolist() == np.repeat(range(3), len(images) // 3).tolist()


def test_jpeg_files_are_read(tmp_path):
    fill(tmp_path / "train", ending="JPG")
    fill(tmp_path / "test", ending="jpeg", first=50)
    data = load_dataset(tmp_path)
    assert data.image_shape == (SIDE, SIDE) and len(data.X) == 12


def test_images_on_one_level_are_divided_by_class_the_same_way_each_time(tmp_path):
    images = fill(tmp_path, 12)
    train, test = load_dataset(tmp_path), load_dataset(tmp_path, "test")
    assert np.bincount(train.y).tolist() == [10, 10, 10] and np.bincount(test.y).tolist() == [2, 2, 2]
    rows = {row.tobytes() for row in np.concatenate([train.X, test.X])}
    assert rows == {image.tobytes() for image in images}
    assert load_dataset(tmp_path).fingerprint == train.fingerprint
    note = "no test rows were given: 6 of 36 rows, a sixth of each class, are held out (seed 0)"
    assert train.notes == (note,) and note in describe(tmp_path)


def test_official_validation_images_are_kept(parted):
    validation = fill(parted / "val", 1, first=200)
    data = load_dataset(parted)
    np.testing.assert_array_equal(data.X[data.official_split.validation], validation.reshape(3, -1))
    assert data.official_split.train.tolist() == list(range(12))


def test_folders_called_by_numbers_are_numbers(tmp_path):
    fill(tmp_path, 6, classes=("2", "10", "0"))
    assert load_dataset(tmp_path).classes.tolist() == [0, 2, 10]


def test_all_parts_are_numbers_or_words_as_the_train_folders_are(tmp_path):
    for part, classes in (("train", ("0", "1", "A")), ("val", ("1",)), ("test", ("0", "1"))):
        fill(tmp_path / part, 2, classes=classes)
    assert load_dataset(tmp_path).class_names == ("0", "1", "A")
    assert load_dataset(tmp_path, "test").y.tolist() == [0, 0, 1, 1]


def test_a_class_of_which_no_train_image_can_be_read_is_refused_before_a_run(parted):
    for path in (parted / "train" / "coat").iterdir():
        path.write_bytes(b"none")
    refused(parted, "train: no image of the class coat can be read", skip_unreadable=True)


def test_a_camera_that_says_half_a_word_leaves_an_image_out(parted):
    save(parted / "train" / "coat" / "cut.jpg", picture(1), exif=b"Exif\0\0II*\0", dpi=(72, 72))
    refused(parted, "cut.jpg: not a readable image")
    assert len(load_dataset(parted, skip_unreadable=True).X) == 12


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, 6, classes=("train", "plane", "ship"))
    assert load_dataset(tmp_path).class_names == ("plane", "ship", "train")


def test_mixed_sizes_are_refused_by_the_first_odd_file_or_resized(parted):
    odd = parted / "train" / "boot" / "005.png"
    save(odd, picture(5, (20, 16)))
    refused(
        parted, f"{odd}: 16 x 20 pixels, as 1 of 12 images", "most have 12 x 12; --resize 12 brings all to one size"
    )
    data = load_dataset(parted, resize=8)
    assert data.image_shape == (8, 8) and data.X.shape == (12, 64)
    assert data.notes == ("images are resized to 8 x 8",)
    assert load_dataset(parted, "test", resize=8).image_shape == (8, 8)


def test_resizing_keeps_proportions_and_the_colour_of_the_edges(tmp_path):
    for number in range(6):
        image = np.full((10, 20), 255, np.uint8)
        image[3:7, 6:14] = 0
        save(tmp_path / CLASSES[number % 2] / f"{number}.png", image)
    image = load_dataset(tmp_path, resize=20).X[0].reshape(20, 20)
    assert image[:5].min() == image[-5:].min() == 255
    assert (image[8:12, 7:13] < 40).all()


def test_arrays_of_other_formats_are_resized_too(tmp_path):
    images, labels = np.array([picture(seed) for seed in range(12)]), np.arange(12) % 2
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert load_dataset(tmp_path / "a.npz", resize=6).image_shape == (6, 6)
    assert load_dataset("digits", "test", resize=4).X.shape == (297, 16)
    for size in (0, -3, 2000, True):
        refused("digits", "resize", "1 to 1024", resize=size)


def test_sixteen_bits_palettes_and_opacity_become_eight_bits(tmp_path):
    levels = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    deep = Image.fromarray(levels.astype(np.uint16) * 257)
    for number in range(6):
        save(tmp_path / "deep" / f"{number}.png", deep)
        save(tmp_path / "flat" / f"{number}.png", Image.fromarray(levels > 70))
    gray = load_dataset(tmp_path)
    assert gray.image_shape == (SIDE, SIDE)
    np.testing.assert_array_equal(gray.X[gray.y == 0][0], levels.ravel())
    np.testing.assert_array_equal(gray.X[gray.y == 1][0], (levels > 70).ravel() * 255)
    bright, dark = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    bright[2:6, 2:6] = 255
    dark[2:6, 2:6, 3] = 255
    for number in range(6):
        save(tmp_path / "bright" / f"{number}.png", bright)
        save(tmp_path / "dark" / f"{number}.png", dark)
        save(tmp_path / "palette" / f"{number}.png", Image.fromarray(levels).convert("P"))
    data = load_dataset(tmp_path)
    assert data.image_shape == (SIDE, SIDE, 3), "a palette is in colour"
    of = {name: data.X[data.y == code][0].reshape(SIDE, SIDE, 3) for code, name in enumerate(data.class_names)}
    np.testing.assert_array_equal(of["palette"][..., 0], levels)
    assert of["bright"][0, 0].tolist() == [0, 0, 0] and of["bright"][3, 3].tolist() == [255, 255, 255]
    assert of["dark"][0, 0].tolist() == [255, 255, 255] and of["dark"][3, 3].tolist() == [0, 0, 0]


def test_test_images_are_gray_or_coloured_as_the_train_images_are(parted):
    for path in (parted / "test").rglob("*.png"):
        save(path, picture(1, (SIDE, SIDE, 3)))
    assert load_dataset(parted, "test").image_shape == (SIDE, SIDE)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(6):
        save(tmp_path / CLASSES[number % 2] / f"{number}.jpg", picture(number, (8, 12)), exif=exif)
    assert load_dataset(tmp_path).image_shape == (12, 8)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_what_a_camera_says_is_read_alike_for_training_and_for_prediction(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6
    levels = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    for number in range(6):
        save(tmp_path / CLASSES[number % 2] / f"{number}.{ending}", levels, exif=exif)
    _, found, _ = read_images(tmp_path / "bag" / f"0.{ending}", (SIDE, SIDE), 127.5)
    np.testing.assert_array_equal(found, load_dataset(tmp_path).X[:1])


def test_files_that_cannot_be_read_are_named_and_counted_or_left_out(parted):
    whole = (parted / "train" / "bag" / "001.png").read_bytes()
    (parted / "train" / "bag" / "001.png").write_bytes(whole[: len(whole) // 2])
    (parted / "train" / "coat" / "note.txt").write_text("mine")
    words = "train: 2 of 13 images cannot be read", "001.png: not a readable image", "--skip-unreadable leaves them out"
    refused(parted, *words)
    data = load_dataset(parted, skip_unreadable=True)
    assert np.bincount(data.y).tolist() == [3, 4, 4]
    assert "2 of 13 images cannot be read" in data.notes[0] and data.notes[0].endswith("and are left out")


def test_a_test_image_that_cannot_be_read_is_found_before_a_run(parted):
    path = parted / "test" / "coat" / "004.png"
    path.write_bytes(path.read_bytes()[:60])
    refused(parted, "test: 1 of 6 images cannot be read", str(path))
    assert len(load_dataset(parted, "test", skip_unreadable=True).X) == 5
    for path in (parted / "test").rglob("*.png"):
        save(path, picture(0, (3, 3)))
    refused(parted, "test: 3 x 3 pixels, the train images have 12 x 12")


def test_what_systems_leave_behind_is_no_image(parted):
    for name in ("Thumbs.db", ".DS_Store", "._001.png"):
        (parted / "train" / "bag" / name).write_bytes(b"none")
    save(parted / "train" / "bag" / ".ipynb_checkpoints" / "001.png", picture(1))
    save(parted / "train" / "bag" / "more" / "1.png", picture(99))
    assert np.bincount(load_dataset(parted).y).tolist() == [5, 4, 4]


def test_folders_that_are_none_of_classes_say_why(parted, tmp_path):
    (parted / "train" / "hat").mkdir()
    refused(parted, f"{parted / 'train' / 'hat'}: holds no images (.png, .jpg, .jpeg)")
    (parted / "train" / "hat").rmdir()
    fill(parted / "test", 1, classes=("hat",))
    refused(parted, "the class hat does not occur in")
    fill(tmp_path / "one", 6, classes=("hat",))
    refused(tmp_path / "one", "only one class")
    fill(tmp_path / "few", 1)
    refused(tmp_path / "few", "too few rows to hold some out", "3 rows are too few for 3 classes")


def test_images_are_not_held_twice(tmp_path):
    """Each image is decoded into its place in one array; 240 images of 64 x 64 in colour are 2.8 MB."""
    fill(tmp_path / "train", 80, (64, 64, 3))
    fill(tmp_path / "test", 1, (64, 64, 3))
    load_dataset(tmp_path)  # what is imported counts once
    tracemalloc.start()
    data = load_dataset(tmp_path, skip_unreadable=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.4 * data.X.nbytes


def test_more_images_than_the_memory_holds_are_refused(parted, monkeypatch):
    monkeypatch.setattr("fmnist_bench._utils.environment.available_memory", lambda: 1000)
    refused(parted, "12 images of 12 x 12 need 0.0 GiB of memory", "--resize 28 makes them smaller")


STUDY = '[model]\nuse = "sklearn.naive_bayes.GaussianNB"\n'


def test_a_run_reads_and_reports_them_as_it_was_told_to(arena, tmp_path):
    arena("studies/bayes.toml", STUDY)
    arena("benchmarks/tiny.toml", 'data = "own"\ntrials = 1\nresize = 6\nstudies = ["bayes"]\n')
    fill(tmp_path / "own", 20, (10, 14))
    (tmp_path / "own" / "bag" / "003.png").write_bytes(b"none")
    with pytest.raises(InputError, match="--skip-unreadable"):
        runner.check_benchmark("tiny")
    outcome = runner.run_benchmark("tiny", skip_unreadable=True, progress=Progress())
    assert outcome.findings.image_shape == (6, 6)
    report = re.sub(r"\s+", " ", (outcome.folder / "report.md").read_text())
    assert "10 of 60 rows, a sixth of each class, are held out (seed 0)" in report
    assert "1 of 50 images cannot be read" in report and "images are resized to 6 x 6" in report
    assert runner.rewrite_report("tiny").image_shape == (6, 6)


def test_the_command_line_takes_both_options(tmp_path, capsys):
    fill(tmp_path / "own", 6, (10, 14))
    (tmp_path / "own" / "bag" / "003.png").write_bytes(b"none")
    assert main(["data", str(tmp_path / "own")]) == 2
    assert main(["run", "knn", "--data", str(tmp_path / "own"), "--resize", "0"]) == 2
    assert main(["data", str(tmp_path / "own"), "--resize", "5", "--skip-unreadable"]) == 0
    shown = capsys.readouterr().out
    assert "images of 5 x 5" in shown and "note         images are resized to 5 x 5" in shown
