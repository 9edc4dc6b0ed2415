"""Files that appear whole or not at all, and the digests by which their content is known."""

import hashlib
import os

import numpy as np
import pytest

from fmnist_bench._utils.digests import digest_of, digest_of_file
from fmnist_bench._utils.files import replacing, unshare


def test_what_fails_half_way_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.npy"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as temporary:
        temporary.write_text("half \ud800", encoding="utf-8")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.npy", "old")]


def test_the_name_to_write_to_keeps_the_ending(tmp_path):
    with replacing(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.arange(3))  # numpy appends an ending that is not there
    assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]


def test_a_second_name_keeps_what_it_had(tmp_path):
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    unshare(tmp_path / "b")
    (tmp_path / "b").write_text("new")
    assert (tmp_path / "a").read_text() == "old"


def test_a_digest_follows_from_words_and_elements(tmp_path):
    array = np.arange(6).reshape(2, 3)
    assert digest_of("a", array) == hashlib.sha256(b"a" + array.tobytes()).hexdigest()
    assert digest_of("a", array.T) == digest_of("a", array.T.copy()) != digest_of("a", array)
    (tmp_path / "file").write_bytes(b"content")
    assert digest_of_file(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
