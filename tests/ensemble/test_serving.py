import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.estimator import StackedEnsemble
from fmnist_bench.ensemble.serving import ALLOW_IMPORT, ServedEnsemble, _load_pyfunc, column_names
from fmnist_bench.storage.run_folder import ENSEMBLE


@pytest.fixture
def folder(digits, tmp_path):
    StackedEnsemble([("bayes", GaussianNB())], random_state=0).fit(digits.X, digits.y).save(tmp_path / ENSEMBLE)
    return tmp_path / ENSEMBLE


def test_numbers_that_are_pixels_are_answered_alike_whatever_their_type(folder, digits):
    served = ServedEnsemble(folder)
    expected = served.ensemble.predict_proba(digits.X[:9])
    for rows in (digits.X[:9], digits.X[:9].astype(float), digits.X[:9].tolist(), digits.X[:9].astype(np.int64)):
        answer = served.predict(rows)
        assert np.array_equal(answer.iloc[:, 1:], expected)
        assert answer["label"].tolist() == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan, np.inf])
def test_what_is_no_pixel_is_refused(folder, digits, value):
    rows = digits.X[:2].astype(float)
    rows[1, 30] = value
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        ServedEnsemble(folder).predict(rows)


def test_truth_values_are_refused(folder, digits):
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        ServedEnsemble(folder).predict(digits.X[:2] > 99)


def test_the_shape_is_that_of_a_square_or_unknown(folder, digits, tmp_path):
    assert ServedEnsemble(folder).image_shape == [8, 8]
    StackedEnsemble([("bayes", GaussianNB())]).fit(digits.X[:, :60], digits.y).save(tmp_path / "odd")
    with pytest.raises(InputError, match="60 is not a square"):
        _ = ServedEnsemble(tmp_path / "odd").image_shape


class Foreign(GaussianNB):
    """A type that the server's owner alone may admit."""


def test_the_owner_of_the_server_says_whom_to_trust(folder, digits, monkeypatch):
    from fmnist_bench.ensemble.saved import write_bundle
    from fmnist_bench.models.saved import save_model

    save_model(Foreign().fit(digits.X, digits.y), folder.parent / "foreign.skops")
    about = {"method": "greedy", "temperature": 1.0, "pixels": True, "n_features_in": 64, "classes": list(range(10))}
    write_bundle(folder, [("foreign", 1.0, 1.0, folder.parent / "foreign.skops")], about)
    with pytest.raises(InputError, match="not trusted"):
        _load_pyfunc(str(folder.parent))
    monkeypatch.setenv(ALLOW_IMPORT, "other,tests.ensemble.test_serving")
    assert len(_load_pyfunc(str(folder.parent)).predict(digits.X[:3])) == 3


def test_no_two_classes_share_a_column_whatever_they_are_called():
    labels = ["image", "class image", "class class label", "class", "classic", 3]
    names = column_names(labels)
    assert names == ["class image", "class class image", "class class class label", "class", "classic", "3"]
