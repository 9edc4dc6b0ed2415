import json

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.predict import predict_images


@pytest.fixture
def place(arena, digits, tmp_path):
    """A folder with two ensembles and with pictures of digits."""
    for number in range(2):
        ensemble = StackedEnsemble([("logistic", LogisticRegression(max_iter=2000))], random_state=number)
        ensemble.fit(digits.X, digits.y).save(tmp_path / f"mlruns/runs/tiny-{number}/ensemble")
    (tmp_path / "pictures").mkdir()
    for row in range(12):
        Image.fromarray(digits.X[row].reshape(8, 8)).save(tmp_path / f"pictures/{row:02}.png")
    return tmp_path


def test_a_table_names_each_image(place, capsys, digits):
    assert main(["predict", "pictures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["image", "label", "probability"]
    assert [int(line.split()[1]) for line in lines[1:]] == digits.y[:12].tolist()
    assert [line.split()[0] for line in lines[1:3]] == ["pictures/00.png", "pictures/01.png"]


def test_what_was_inverted_and_what_is_unsure_is_marked(place, capsys, digits):
    paper = 255 - digits.X[0].reshape(8, 8)
    Image.fromarray(paper).save("paper.png")
    Image.fromarray(np.full((8, 8), 8, np.uint8)).save("nothing.png")
    assert main(["predict", "paper.png", "nothing.png", "pictures/01.png"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    (_, label, _, remark), nothing, sure = lines
    assert (int(label), remark) == (digits.y[0], "inverted")
    assert nothing[3:] == ["unsure"] and sure[3:] == []
    assert main(["predict", "paper.png", "pictures/01.png", "--format", "json"]) == 0
    printed = capsys.readouterr().out
    assert [row["inverted"] for row in json.loads(printed)] == [True, False]
    assert "\\/" not in printed


def test_csv_and_json_hold_every_class(place, capsys):
    assert main(["predict", "pictures/03.png", "--format", "json", "--ensemble", "mlruns/runs/tiny-0/ensemble"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["label"] == 3
    assert sum(row[str(digit)] for digit in range(10)) == pytest.approx(1, abs=1e-4)
    assert main(["predict", "pictures", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "image,label,probability,inverted,0,1,2,3,4,5,6,7,8,9"
    assert len(lines) == 13


def test_without_an_ensemble_or_images_it_says_so(place, capsys):
    assert main(["predict", "pictures", "--mlruns", "elsewhere"]) == 2
    assert "holds no ensemble; python -m fmnist_bench run all makes one" in capsys.readouterr().err
    assert main(["predict", "nowhere"]) == 2
    assert "nowhere: no such file" in capsys.readouterr().err
    np.savez(place / "small.npz", np.zeros((2, 9)))
    assert main(["predict", "small.npz"]) == 2
    assert "must be n x" in capsys.readouterr().err


def test_several_files_and_folders_in_their_order(place, capsys, digits):
    np.savez(place / "more.npz", digits.X[20:22])
    assert main(["predict", "pictures/05.png", "pictures", "more.npz"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [name for name, *_ in lines] == [
        *("pictures/05.png", *(f"pictures/{row:02}.png" for row in range(12))),
        *("more.npz[0]", "more.npz[1]"),
    ]
    assert [int(label) for _, label, _ in lines] == [digits.y[row] for row in (5, *range(12), 20, 21)]


def test_an_ensemble_of_ones_own_knows_its_background(place, capsys, digits):
    paper = StackedEnsemble([("logistic", LogisticRegression(max_iter=2000))], random_state=0)
    paper.fit(255 - digits.X, digits.y).save(place / "paper")
    for row in range(12):
        Image.fromarray(255 - digits.X[row].reshape(8, 8)).save(place / f"pictures/{row:02}.png")
    for ensemble in ("paper", "mlruns/runs/tiny-0/ensemble"):  # files are on white, what the second learnt from is not
        assert main(["predict", "pictures", "--ensemble", ensemble]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        assert [int(line.split()[1]) for line in lines] == digits.y[:12].tolist()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_images_with_one_channel_are_gray(place, capsys, digits, shape):
    ensemble = StackedEnsemble([("logistic", LogisticRegression(max_iter=2000))], random_state=0)
    ensemble.fit(digits.X.reshape(-1, *shape), digits.y).save("gray")
    assert main(["predict", "pictures", "--ensemble", "gray"]) == 0
    assert [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()[1:]] == digits.y[:12].tolist()


def test_other_channels_and_no_images_are_refused(place, digits):
    ensemble = StackedEnsemble([("logistic", LogisticRegression(max_iter=2000))], random_state=0)
    ensemble.fit(digits.X.reshape(-1, 4, 4, 4), digits.y).save("four")
    with pytest.raises(InputError, match="images of 4 channels, only of 1 or 3"):
        predict_images("pictures", "four")
    with pytest.raises(InputError, match="no images were given"):
        predict_images([])


def test_a_background_that_nobody_knows_is_not_changed(place, capsys, digits):
    member = LogisticRegression(max_iter=2000).fit(255 - digits.X, digits.y)
    probabilities = member.predict_proba(255 - digits.X)[np.newaxis]
    StackedEnsemble.from_fitted([("logistic", member)], probabilities, digits.y, pixels=True).save("paper")
    Image.fromarray(255 - digits.X[0].reshape(8, 8)).save("white.png")
    assert main(["predict", "white.png", "--ensemble", "paper"]) == 0
    assert int(capsys.readouterr().out.splitlines()[1].split()[1]) == digits.y[0]


def test_an_ensemble_that_learnt_from_no_pixels_is_refused(place, capsys, digits):
    StackedEnsemble([("logistic", LogisticRegression())], random_state=0).fit(digits.X / 255, digits.y).save("unit")
    assert main(["predict", "pictures", "--ensemble", "unit"]) == 2
    assert "unit: was not fitted on pixels, whole numbers from 0 to 255" in capsys.readouterr().err


def test_classes_may_have_the_names_of_columns(place, capsys, digits):
    taken, row = ("label", "image", "probability"), int(np.flatnonzero(digits.y[:12] < 3)[0])
    names = np.array([*taken, *map(str, range(3, 10))])[digits.y]
    ensemble = StackedEnsemble([("logistic", LogisticRegression(max_iter=2000))], random_state=0)
    ensemble.fit(digits.X, names).save("words")
    assert main(["predict", f"pictures/{row:02}.png", "--ensemble", "words", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["image"], found["label"]) == (f"pictures/{row:02}.png", names[row])
    assert found["probability"] == max(found[f"class {name}"] for name in taken)
