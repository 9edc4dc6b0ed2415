"""What `list` shows of everything there is."""

import pytest

from fmnist_bench.config.files import find_files
from fmnist_bench.config.listing import list_all


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_every_name_is_whole_and_no_line_is_too_long(width):
    text = list_all(width)
    assert max(map(len, text.splitlines())) <= width
    names = {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
    assert names == {*find_files("benchmarks"), *find_files("studies")}


def test_each_is_said_to_be_what_its_file_says():
    text = list_all(200)
    assert "fashion-mnist, 30m, 13 studies, Every family on Fashion-MNIST within one budget." in text
    assert "Support vector machine with a Gaussian kernel" in text


def test_a_file_that_cannot_be_read_is_named_beside_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "torn.toml").write_text("[model")
    (tmp_path / "studies" / "bare.toml").write_text('[model]\nuse = "sklearn.svm.SVC"\n')
    lines = {line.split()[0]: line for line in list_all(200).splitlines() if line.startswith("  ")}
    assert "cannot be used: " in lines["torn"]
    assert lines["bare"].endswith("sklearn.svm.SVC") and "knn" in lines
