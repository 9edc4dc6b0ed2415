import io
import zipfile

import numpy as np
import pytest

from fmnist_bench._utils import archives
from fmnist_bench._utils.archives import check_inflation, check_stored


def test_images_of_few_values_are_taken_and_zeros_alone_are_not(monkeypatch):
    monkeypatch.setattr(archives, "FREE", 0)
    binary = (np.random.default_rng(0).random((500, 28, 28)) > 0.9).astype(np.float64)
    for images, is_bomb in ((binary, False), (np.zeros((500, 28, 28)), True)):
        file = io.BytesIO()
        np.savez_compressed(file, x_train=images)
        if is_bomb:
            with pytest.raises(ValueError, match="would be inflated to 3136128; at most 250 times are read"):
                check_inflation(file)
        else:
            check_inflation(file)
            assert file.tell() == 0


def test_a_small_archive_may_hold_anything():
    file = io.BytesIO()
    np.savez_compressed(file, x_train=np.zeros((500, 28, 28)))
    check_inflation(file)


def test_what_is_no_archive_is_left_to_its_reader():
    check_inflation(io.BytesIO(b"no archive"))


def test_parts_that_share_their_bytes_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one", b"x" * 10_000)
        for number in range(50):  # entries of the directory that all name the same bytes
            info = zipfile.ZipInfo(f"copy-{number}")
            info.file_size = info.compress_size = 10_000
            info.header_offset, info.CRC = 0, archive.getinfo("one").CRC
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    with pytest.raises(ValueError, match="its parts are said to have 510000 bytes"):
        check_stored(file)
