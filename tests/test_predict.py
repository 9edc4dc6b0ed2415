import json

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from fmnist_bench.cli import main
from fmnist_bench.ensemble import StackedEnsemble


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
    assert [line.split()[0] for line in lines[1:3]] == ["00.png", "01.png"]


def test_csv_and_json_hold_every_class(place, capsys):
    assert main(["predict", "pictures/03.png", "--format", "json", "--ensemble", "mlruns/runs/tiny-0/ensemble"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["label"] == 3
    assert sum(row[str(digit)] for digit in range(10)) == pytest.approx(1, abs=1e-4)
    assert main(["predict", "pictures", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "image,label,probability,0,1,2,3,4,5,6,7,8,9"
    assert len(lines) == 13


def test_without_an_ensemble_or_images_it_says_so(place, capsys):
    assert main(["predict", "pictures", "--mlruns", "elsewhere"]) == 2
    assert "holds no ensemble; python -m fmnist_bench run all makes one" in capsys.readouterr().err
    assert main(["predict", "nowhere"]) == 2
    assert "nowhere: no such file" in capsys.readouterr().err
    np.savez(place / "small.npz", np.zeros((2, 9)))
    assert main(["predict", "small.npz"]) == 2
    assert "must be n x" in capsys.readouterr().err
