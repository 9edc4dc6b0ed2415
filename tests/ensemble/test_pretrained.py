"""What comes with the package: whole, as good as its card says, and used where there is no run."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

import fmnist_bench
from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble import pretrained
from fmnist_bench.ensemble.pretrained import CARD, NAMES, load_pretrained, pretrained_folder
from fmnist_bench.ensemble.saved import check_bundle
from fmnist_bench.storage.run_folder import MANIFEST

BACK_ENDS = 0.001  # share of answers that back ends and processors may differ by


@pytest.fixture
def shoe(fashion_mnist, tmp_path):
    """A photo of an ankle boot: dark on white, large."""
    test = load_dataset("fashion-mnist", "test", path=fashion_mnist)
    row = int(np.flatnonzero(test.y == 9)[0])
    path = tmp_path / "shoe.jpg"
    Image.fromarray(255 - test.X[row].reshape(28, 28)).resize((560, 560), Image.Resampling.BICUBIC).save(path)
    return path


def card_of(name):
    return (pretrained_folder(name) / CARD).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_files_and_card_belong_together(name):
    check_bundle(folder := pretrained_folder(name))
    assert digest_of_file(folder / MANIFEST) in card_of(name)
    for words in ("Test accuracy", "95 % interval", "Command", "Processor", "seed", "Licence", "## Limits"):
        assert words in card_of(name)


def test_what_comes_with_the_package_is_small():
    sizes = [path.stat().st_size for name in NAMES for path in pretrained_folder(name).iterdir()]
    assert sum(sizes) < 8 * 2**20


def test_a_file_that_was_changed_is_refused(tmp_path, monkeypatch):
    shutil.copytree(pretrained_folder("network"), tmp_path / "network")
    monkeypatch.setattr(pretrained, "PRETRAINED", tmp_path)
    member = next((tmp_path / "network").glob("*.skops"))
    member.write_bytes(member.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="missing or changed since the ensemble was saved"):
        load_pretrained("network")


def test_another_name_is_refused():
    with pytest.raises(InputError, match="pretrained 'best': must be one of ensemble, network"):
        load_pretrained("best")


@pytest.mark.parametrize("name", NAMES)
def test_a_photo_of_a_shoe_is_named_without_a_run(name, shoe, arena, capsys):
    given = [] if name == "ensemble" else ["--pretrained", name]
    assert main(["predict", str(shoe), *given]) == 0
    out, err = capsys.readouterr()
    assert "Ankle boot" in out.splitlines()[1]
    (line,) = (line for line in err.splitlines() if line.startswith("Ensemble"))
    assert f"pretrained {name} of fmnist_bench" in line
    assert ("mlruns holds none" in line) == (name == "ensemble")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_accuracy_is_that_of_the_card(name, fashion_mnist):
    test = load_dataset("fashion-mnist", "test", path=fashion_mnist)
    (said,) = re.findall(r"Test accuracy: ([\d.]+) %", card_of(name))
    assert fmnist_bench.load_pretrained(name).score(test.X, test.y) == pytest.approx(float(said) / 100, abs=BACK_ENDS)
