"""Tables are read as Kaggle and Hugging Face distribute them, and what is none is refused with one line."""

import gzip
import io
import json
import re
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pyarrow import parquet

from fmnist_bench._utils.errors import InputError
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.data.describe import describe
from fmnist_bench.data.readers.idx import IDX_FILES
from fmnist_bench.data.readers.table_files import ENDINGS

SIDE = 28
NAMES = {"train": "fashion-mnist_train", "test": "fashion-mnist_test"}
SIZES = {"train": 12, "test": 6}


def images_of(part, shape=(SIDE, SIDE)):
    return np.random.default_rng(SIZES[part]).integers(0, 256, (SIZES[part], *shape)).astype(np.uint8)


def labels_of(part):
    return np.resize([2, 9, 6], SIZES[part])


def kaggle(part):
    """Make the table of a part as Kaggle's Fashion-MNIST has it: label, pixel1 ... pixel784."""
    names = [f"pixel{number + 1}" for number in range(SIDE**2)]
    frame = pd.DataFrame(images_of(part).reshape(-1, SIDE**2), columns=names)
    frame.insert(0, "label", labels_of(part))
    return frame


def write(folder, tables, ending=".csv", names=NAMES, **options):
    folder.mkdir(exist_ok=True)
    for part, frame in tables.items():
        if ending == ".parquet":
            frame.to_parquet(folder / f"{names[part]}{ending}")
        else:
            frame.to_csv(folder / f"{names[part]}{ending}", index=False, **options)
    return folder


def both():
    return {part: kaggle(part) for part in NAMES}


def png(image, kind="PNG", mode=None):
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, kind)
    return stream.getvalue()


def hugging_face(column="image", shape=(SIDE, SIDE)):
    """Make the tables as the library `datasets` writes them: a struct of bytes and path, and the label."""
    tables = {}
    for part in NAMES:
        cells = [{"bytes": png(image), "path": f"{row}.png"} for row, image in enumerate(images_of(part, shape))]
        tables[part] = pd.DataFrame({column: cells, "label": labels_of(part)})
    return tables


SHARDS = {part: f"{part}-00000-of-00001" for part in NAMES}


def check(path, shape=(SIDE, SIDE)):
    for part in NAMES:
        data = load_dataset(path, part)
        np.testing.assert_array_equal(data.X, images_of(part, shape).reshape(SIZES[part], -1))
        assert data.image_shape == shape and data.classes.tolist() == [2, 6, 9]
        assert data.classes[data.y].tolist() == labels_of(part).tolist()
    return data.name


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".zip"])
def test_test_rows_without_labels_are_none(tmp_path, ending):
    """As in Kaggle's Digit Recognizer: train.csv, test.csv without labels, sample_submission.csv."""
    tables = both() | {"test": kaggle("test").drop(columns="label")}
    folder = write(tmp_path / "digits", tables, ending.replace("zip", "csv"), {"train": "train", "test": "test"})
    (folder / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    path = folder
    if ending == ".zip":
        path = tmp_path / "digit-recognizer.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, file.name)
    train, test = (load_dataset(path, part) for part in ("train", "test"))
    assert len(train.y) + len(test.y) == SIZES["train"] and len(test.y) > 0
    assert any("test" in note and "has no labels" in note for note in train.notes)


def test_a_test_table_with_other_columns_is_refused(tmp_path):
    tables = both() | {"test": kaggle("test").rename(columns={"label": "klass"})}
    refused(write(tmp_path / "data", tables), "exactly one of them must be called label")


def refused(path, words, part="train"):
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        load_dataset(path, part)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [end for end in ENDINGS if end != ".zip"])
def test_kaggles_tables_are_read_from_folder_and_file(tmp_path, ending):
    folder = write(tmp_path / "fashion", both(), ending)
    assert check(folder) == "fashion"
    assert check(folder / f"fashion-mnist_train{ending}") == "fashion-mnist_train"


def test_an_archive_holds_both_tables_and_more(tmp_path):
    write(tmp_path, both())
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES.values():
            archive.write(tmp_path / f"{name}.csv", f"data/{name}.csv")
        archive.writestr("__MACOSX/data/._fashion-mnist_train.csv", "")
        archive.writestr("t10k-labels-idx1-ubyte", "")
    assert check(tmp_path / "archive.zip") == "archive"
    shutil.move(tmp_path / "archive.zip", tmp_path / "my_train.zip")
    for name in NAMES.values():
        (tmp_path / f"{name}.csv").unlink()
    refused(tmp_path, "my_train.zip: holds data/fashion-mnist_train.csv, data/fashion-mnist_test.csv; name the archive")


def test_a_table_without_names_has_its_labels_in_the_first_column(tmp_path):
    check(write(tmp_path, both(), header=False, names={"train": "mnist_train", "test": "mnist_test"}))


@pytest.mark.parametrize("name", ["Label", "class", " y"])
def test_a_column_of_labels_may_stand_anywhere(tmp_path, name):
    moved = {part: frame.assign(**{name: frame.label}).drop(columns="label") for part, frame in both().items()}
    check(write(tmp_path, moved, names={"train": "Training", "test": "testing"}) / "Training.csv")


def test_idx_files_go_before_tables_in_a_folder(tmp_path):
    write(tmp_path, both())
    (tmp_path / IDX_FILES["train"][0]).write_bytes(b"none")
    refused(tmp_path, "lacks train-labels-idx1-ubyte")


@pytest.mark.parametrize("column", ["image", "img"])
@pytest.mark.parametrize("shape", [(SIDE, SIDE), (5, 7), (4, 6, 3)])
def test_the_images_of_hugging_face_are_decoded(tmp_path, column, shape):
    check(write(tmp_path / "mnist", hugging_face(column, shape), ".parquet", SHARDS), shape)


def test_images_may_be_plain_bytes_and_have_palettes(tmp_path):
    tables = hugging_face()
    for part, frame in tables.items():
        frame["image"] = [png(image, mode="P") for image in images_of(part)]
    data = load_dataset(write(tmp_path, tables, ".parquet", SHARDS))
    assert data.image_shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(data.X[:, ::3], images_of("train").reshape(12, -1))


def test_images_that_are_none_are_named(tmp_path):
    cases = {
        "of row 5: 4 x 3 pixels, as 1 of 12 images": {"bytes": png(np.zeros((3, 4), np.uint8))},
        "of row 5: not a readable image": {"bytes": b"GIF89a"},
        "of row 5: holds NoneType; allowed: the bytes of a PNG": {"bytes": None, "path": "5.png"},
    }
    for words, cell in cases.items():
        tables = hugging_face()
        tables["train"].at[5, "image"] = cell
        refused(write(tmp_path, tables, ".parquet", SHARDS), f"train-00000-of-00001.parquet: image {words}")
    tables = hugging_face()
    tables["train"].at[5, "image"] = {"bytes": png(np.zeros((3, 4), np.uint8))}
    tables["train"].at[7, "image"] = {"bytes": b"GIF89a"}
    data = load_dataset(write(tmp_path, tables, ".parquet", SHARDS), resize=5, skip_unreadable=True)
    assert data.image_shape == (5, 5) and len(data.X) == 11 and "1 of 12 images cannot be read" in data.notes[0]
    clear = png(images_of("train")[0], mode="LA")
    wide = {part: frame.assign(image=[clear] * SIZES[part]) for part, frame in tables.items()}
    assert load_dataset(write(tmp_path, wide, ".parquet", SHARDS)).image_shape == (SIDE, SIDE)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_labels_of_a_table_may_be_words(tmp_path, ending):
    words = np.array(["bag", "NA", "trouser"])
    tables = {part: frame.assign(label=words[np.arange(len(frame)) % 3]) for part, frame in both().items()}
    data = load_dataset(write(tmp_path, tables, ending), "test")
    assert data.class_names == ("NA", "bag", "trouser") and data.y.tolist() == [1, 0, 2] * 2
    tables["train"].loc[4, "label"] = ""
    refused(write(tmp_path, tables, ending), "labels of train: element type object with values that are neither")


REFUSED = {
    "no label": (lambda f: f.rename(columns={"label": "id"}), "its columns are id, pixel1"),
    "two labels": (lambda f: f.assign(y=1), "exactly one of them must be called label, labels, class, target, y"),
    "words": (lambda f: f.assign(pixel7="dark"), "column pixel7 holds something else than pixels"),
    "empty": (lambda f: f.assign(pixel7=f.pixel7.where(f.index != 3)), "pixel7 holds something else than pixels"),
    "no square": (lambda f: f.drop(columns="pixel784"), "images of train: shape (12, 783)"),
    "no pixels": (lambda f: f[["label"]], "images of train: shape (12, 0)"),
    "too bright": (lambda f: f.assign(pixel9=256), "pixels from 0 to 256"),
    "no rows": (lambda f: f[:0], "holds no rows"),
    "fractions": (lambda f: f.assign(label=f.label / 4), "labels of train: element type float64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_be_used_says_why(tmp_path, case):
    change, words = REFUSED[case]
    tables = both()
    refused(write(tmp_path, {**tables, "train": change(tables["train"])}), words)


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from(ENDINGS))
def test_any_bytes_are_read_or_refused_with_one_line(tmp_path_factory, content, ending):
    folder = tmp_path_factory.mktemp("any")
    for part in NAMES:
        (folder / f"{part}{ending}").write_bytes(content)
    try:
        load_dataset(folder)
    except InputError as error:
        assert "\n" not in str(error)


@settings(deadline=None)
@given(st.integers(1, 5).flatmap(lambda side: hnp.arrays(np.uint8, (4, side * side), elements=st.integers(32, 255))))
def test_what_pandas_writes_comes_back(tmp_path_factory, pixels):
    folder = tmp_path_factory.mktemp("written")
    table = pd.DataFrame(pixels).add_prefix("p").assign(y=[5, 7, 5, 7])
    for part in NAMES:
        table.to_csv(folder / f"{part}.csv", index=False)
    data = load_dataset(folder)
    np.testing.assert_array_equal(data.X, pixels)
    assert data.y.tolist() == [0, 1, 0, 1] and data.class_names == ("5", "7")


def test_the_other_table_must_lie_beside_the_one_that_is_named(tmp_path):
    folder = write(tmp_path, both())
    refused(folder / "fashion-mnist_test.csv", "is called as test rows are; name the table of the train rows")
    shutil.move(folder / "fashion-mnist_test.csv", folder / "my_test.csv")
    for path in (folder, folder / "fashion-mnist_train.csv"):
        refused(path, "my_test.csv may be the test rows; needed: fashion-mnist_test.csv")
    (folder / "my_test.csv").unlink()
    shutil.copy(folder / "fashion-mnist_train.csv", folder / "other_train.csv")
    refused(folder, "fashion-mnist_train.csv, other_train.csv may all be the train rows; allowed: one")


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
def test_a_table_of_validation_rows_is_an_official_one(tmp_path, word):
    folder = write(tmp_path, hugging_face(), ".parquet", SHARDS)
    names = {"test": f"{word}-00000-of-00001"}
    write(tmp_path / "other", {"test": hugging_face()["test"]}, ".parquet", names)
    shutil.move(tmp_path / "other" / f"{names['test']}.parquet", folder)
    data = load_dataset(folder)
    assert data.official_split.train.tolist() == list(range(12))
    np.testing.assert_array_equal(data.X[data.official_split.validation], images_of("test").reshape(6, -1))


def test_archives_that_are_none_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"none")
    refused(tmp_path / "a.zip", "a.zip: cannot be read: File is not a zip file")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("train-images-idx3-ubyte", "")
    refused(tmp_path / "b.zip", "b.zip: holds train-images-idx3-ubyte; needed: tables (.csv, .parquet)")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for name in ("one.csv", "two.csv"):
            archive.writestr(name, "")
    refused(tmp_path / "c.zip", "no table of train rows among one.csv, two.csv")


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zip"])
def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, ending):
    monkeypatch.setattr("fmnist_bench._utils.archives.FREE", 10_000)
    text = "label,pixel1\n" + "0,0\n" * 200_000
    for part in NAMES:
        file = tmp_path / f"{part}{ending}"
        if ending == ".csv.gz":
            file.write_bytes(gzip.compress(text.encode()))
            continue
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{part}.csv", text)
    refused(tmp_path, "bytes would be inflated to")


def shards(folder, n=3, part="train", frame=None, **options):
    """Write a part in `n` tables as Hugging Face numbers them."""
    folder.mkdir(exist_ok=True)
    frame = hugging_face()[part] if frame is None else frame
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), n)):
        frame.iloc[rows].to_parquet(folder / f"{part}-{number:05}-of-{n:05}.parquet", **options)
    return folder


@pytest.mark.parametrize("table", [hugging_face, both])
def test_the_shards_of_a_part_are_read_as_one(tmp_path, table):
    for n, part in ((3, "train"), (1, "test")):
        folder = shards(tmp_path / "mine", n, part, table()[part])
    assert check(folder) == "mine"
    assert check(folder / "train-00001-of-00003.parquet") == "train-00001-of-00003"
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"data/{path.name}")
    assert check(tmp_path / "all.zip") == "all"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_all_tables_are_numbers_or_words_as_the_train_rows_are(tmp_path, ending):
    tables = both()
    tables["train"]["label"] = np.resize(["0", "1", "A"], len(tables["train"]))
    tables["test"]["label"] = np.resize(["0", "1"], len(tables["test"]))
    folder = write(tmp_path, tables, ending, SHARDS if ending == ".parquet" else NAMES)
    assert load_dataset(folder).class_names == ("0", "1", "A")
    assert set(load_dataset(folder, "test").y) == {0, 1}


def test_shards_say_together_whether_labels_are_numbers(tmp_path):
    frame = both()["train"]
    frame["label"] = ["A", *np.resize(["0", "1"], len(frame) - 1)]
    shards(tmp_path, frame=frame)
    assert {*load_dataset(tmp_path).class_names} >= {"0", "1"}


def test_a_class_of_which_no_train_image_can_be_decoded_is_refused(tmp_path):
    tables = hugging_face()
    label = tables["train"]["label"][0]
    tables["train"]["image"] = [
        {"bytes": b"none", "path": None} if each == label else image
        for each, image in zip(tables["train"]["label"], tables["train"]["image"], strict=True)
    ]
    with pytest.raises(InputError, match=f"train: no image of the class {label} can be read"):
        load_dataset(write(tmp_path, tables, ".parquet", SHARDS), skip_unreadable=True)


def test_a_shard_that_is_missing_is_named(tmp_path):
    folder = shards(shards(tmp_path / "mnist"), 1, "test")
    (folder / "train-00001-of-00003.parquet").unlink()
    refused(folder, "train-00000-of-00003.parquet, train-00002-of-00003.parquet; needed: each of them, numbered from 0")


def test_the_class_names_of_hugging_face_are_shown(tmp_path):
    names = [f"class {number}" for number in range(10)]
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    for part, frame in hugging_face().items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        about = {**(table.schema.metadata or {}), b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        parquet.write_table(table.replace_schema_metadata(about), tmp_path / f"{part}-00000-of-00001.parquet")
    data = load_dataset(tmp_path)
    assert data.class_names == ("class 2", "class 6", "class 9") and data.classes.tolist() == [2, 6, 9]


@pytest.mark.parametrize("about", [b"{}", b"none", b'{"info": {"features": {"label": {"names": 3}}}}'])
def test_odd_words_of_a_schema_are_passed_over(tmp_path, about):
    for part, frame in both().items():
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({b"huggingface": about})
        parquet.write_table(table, tmp_path / f"{part}-00000-of-00001.parquet")
    assert load_dataset(tmp_path).class_names == ("2", "6", "9")


def test_a_parquet_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    """A million equal rows are some kilobytes; equal images are stored once."""
    monkeypatch.setattr("fmnist_bench._utils.archives.FREE", 100_000)
    rows = pd.DataFrame({f"p{number}": np.zeros(1_000_000, np.uint8) for number in range(16)}).assign(label=1)
    for part in NAMES:
        rows.to_parquet(tmp_path / f"{part}.parquet")
    assert (tmp_path / "train.parquet").stat().st_size < 60_000
    refused(tmp_path, "bytes would be inflated to 17000000; at most 250 times are read")
    images = pd.DataFrame({"image": [b"x" * 10_000] * 3_000, "label": 1})
    for part in NAMES:
        images.to_parquet(tmp_path / f"{part}.parquet")
    refused(tmp_path, "bytes would be inflated to")


def test_pixels_of_a_parquet_table_may_be_of_any_type(tmp_path):
    for kind in ("int64", "float32", "uint8"):
        tables = {part: frame.astype({c: kind for c in frame.columns[1:]}) for part, frame in both().items()}
        check(write(tmp_path, tables, ".parquet", SHARDS))
    holes = both()
    holes["train"] = holes["train"].astype({"pixel7": "Int64"})
    holes["train"].loc[3, "pixel7"] = None
    refused(write(tmp_path, holes, ".parquet", SHARDS), "column pixel7 holds something else than pixels")


def test_a_csv_file_of_bytes_is_read_in_little_memory(tmp_path):
    """By Arrow, block by block; pandas took eight bytes a pixel, and twice."""
    frame = pd.concat([kaggle("train")] * 400, ignore_index=True)
    for part in NAMES:
        frame.to_csv(tmp_path / f"{part}.csv", index=False)
    load_dataset(tmp_path)  # what is imported counts once
    size = (tmp_path / "train.csv").stat().st_size
    tracemalloc.start()
    data = load_dataset(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data.X) == 4800 and peak < 2 * size + 3 * data.X.nbytes
    frame["pixel5"] = frame["pixel5"].astype(float)
    frame.loc[4799, "pixel5"] = 0.5  # no whole number: pandas reads it
    frame.to_csv(tmp_path / "train.csv", index=False)
    np.testing.assert_array_equal(load_dataset(tmp_path).X[:4799], data.X[:4799])


def test_the_page_names_the_endings_and_columns_that_are_read():
    page = (Path(__file__).parents[3] / "docs/how-to/data.md").read_text()
    for name in (*ENDINGS, *(f"{name}.csv" for name in NAMES.values()), "image.bytes", "label"):
        assert f"`{name}`" in page


def test_tables_are_described(tmp_path):
    lines = describe(write(tmp_path / "fashion", both())).splitlines()
    assert lines[1] == "  train        12 images of 28 x 28: 2 4, 6 4, 9 4"
