import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from troublemakers import Trouble

from fmnist_bench._utils.errors import InputError
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.ensemble.manifest import DIGEST, write_manifest
from fmnist_bench.ensemble.saved import write_bundle
from fmnist_bench.models.saved import save_model
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.storage.run_folder import MANIFEST

ABOUT = {"method": "greedy", "temperature": 1.0, "pixels": True, "n_features_in": 64, "classes": list(range(10))}


@pytest.fixture
def saved(digits, tmp_path):
    members = []
    for name, model in (
        ("one", make_pipeline(MinMaxScaler(), LogisticRegression())),
        ("two", RandomForestClassifier(10, random_state=0)),
    ):
        save_model(Pipeline(model).fit(digits.X, digits.y), tmp_path / f"{name}.skops")
        members.append((name, 0.5, 1.0, tmp_path / f"{name}.skops"))
    write_bundle(tmp_path / "ensemble", members, ABOUT)
    return tmp_path / "ensemble"


def test_a_saved_ensemble_is_the_weighted_mean_of_its_members(saved, digits):
    ensemble = load_ensemble(saved)
    members = [member.predict_proba(digits.X) for _, member in ensemble.members_]
    assert np.allclose(ensemble.predict_proba(digits.X), (members[0] + members[1]) / 2)
    assert ensemble.score(digits.X, digits.y) > 0.9
    assert make_pipeline(ensemble).predict(digits.X[:3]).shape == (3,)


def test_saving_again_replaces_the_whole_folder(saved, digits):
    save_model(Pipeline(GaussianNB()).fit(digits.X, digits.y), saved.parent / "three.skops")
    write_bundle(saved, [("three", 1.0, 1.0, saved.parent / "three.skops")], ABOUT)
    assert sorted(p.name for p in saved.iterdir()) == ["0-three.skops", "manifest.json"]


def test_in_a_place_of_its_own_what_is_damaged_is_replaced(saved):
    (saved / "manifest.json").write_text("half")
    (saved / "stray").touch()
    members = [("one", 1.0, 1.0, saved.parent / "one.skops")]
    with pytest.raises(InputError, match="is no saved ensemble"):
        write_bundle(saved, members, ABOUT)
    write_bundle(saved, members, ABOUT, own_place=True)
    assert [name for name, _ in load_ensemble(saved).members_] == ["one"]
    assert not (saved / "stray").exists()


def test_what_was_changed_is_refused(saved):
    member = saved / "0-one.skops"
    member.unlink()
    with pytest.raises(InputError, match=r"one\.skops: missing or changed"):
        load_ensemble(saved)
    member.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"one\.skops: missing or changed"):
        load_ensemble(saved)


@pytest.mark.parametrize("name", ["notes", "file"])
def test_what_is_no_ensemble_is_left_alone(saved, name):
    place = saved.parent / name
    if name == "file":
        place.write_text("mine")
    else:
        (place / "sub").mkdir(parents=True)
        (place / "manifest.json").write_text("{}")
        (place / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=f"{name}: is there and is no saved ensemble"):
        write_bundle(place, [("one", 1.0, 1.0, saved.parent / "one.skops")], ABOUT)
    assert (place if name == "file" else place / "thesis.txt").read_text() == "mine"
    assert not list(saved.parent.glob(".*"))


@pytest.mark.parametrize("manifest", [None, "{}", '{"format_version": 1, "members": []}', "[]", "half"])
def test_somebodys_models_and_manifest_are_not_deleted(saved, manifest):
    place = saved.parent / "models"
    place.mkdir()
    (place / "svm.skops").write_text("mine")
    if manifest is not None:
        (place / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match="models: is there and is no saved ensemble"):
        write_bundle(place, [("one", 1.0, 1.0, saved.parent / "one.skops")], ABOUT)
    assert (place / "svm.skops").read_text() == "mine"


def test_a_save_that_fails_leaves_the_earlier_one(saved, digits, monkeypatch):
    expected = load_ensemble(saved).predict_proba(digits.X[:10])
    with pytest.raises(FileNotFoundError):
        write_bundle(saved, [("gone", 1.0, 1.0, saved.parent / "gone.skops")], ABOUT)
    assert np.array_equal(load_ensemble(saved).predict_proba(digits.X[:10]), expected)


def test_an_empty_folder_and_the_present_one_can_be_written_into(saved, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    write_bundle(Path("."), [("one", 1.0, 1.0, saved.parent / "one.skops")], ABOUT)
    assert len(load_ensemble(tmp_path / "new").members_) == 1


def rewrite(saved, change):
    """Write another manifest, with a digest that is right."""
    content = json.loads((saved / MANIFEST).read_text())
    del content[DIGEST]
    change(content)
    write_manifest(saved, content)


@pytest.mark.slow
@pytest.mark.parametrize("byte", range(0, 400, 57))
def test_no_byte_of_the_manifest_can_change(saved, byte):
    manifest = saved / "manifest.json"
    text = manifest.read_text()
    number = [i for i, letter in enumerate(text) if letter.isalnum()][byte]
    manifest.write_text(f"{text[:number]}{'7' if text[number] != '7' else '8'}{text[number + 1 :]}")
    with pytest.raises(InputError, match=r"manifest\.json|format version"):
        load_ensemble(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("members"), "members must be a list"),
        (lambda content: content.update(members=[]), "members must be a list"),
        (lambda content: content.update(members=[7]), "members must be a list"),
        (lambda content: content["members"][0].pop("sha256"), "sha256 must be"),
        (lambda content: content["members"][0].pop("name"), "must have a name"),
        (lambda content: content["members"][1].update(name=[]), "must have a name"),
        (lambda content: content["members"][0].update(weight=9), "numbers that sum to one"),
        (lambda content: content["members"][0].update(weight=float("nan")), "numbers that sum to one"),
        (lambda content: content["members"][0].update(weight="1"), "numbers that sum to one"),
        (lambda content: content["members"][0].update(temperature=0), "temperature 0 of a member"),
        (lambda content: content["members"][0].pop("temperature"), "temperature None of a member"),
        (lambda content: content.update(temperature=0), "must be a number above zero"),
        (lambda content: content.update(temperature="warm"), "must be a number above zero"),
        (lambda content: content.update(temperature=10**400), "must be a number above zero"),
        (lambda content: content["members"][0].update(file=3), "file must be"),
        (lambda content: content["members"][0].update(file="x" * 300), "file must be"),
        (lambda content: content["members"][0].update(file="a\0b"), "file must be"),
        (lambda content: content.update(stacker=[]), "stacker must be"),
        (lambda content: content.pop("stacker"), "stacker is missing"),
        (lambda content: content.pop("pixels"), "pixels must be"),
        (lambda content: content.update(encoded="yes"), "encoded must be"),
        (lambda content: content.update(method="magic"), "method must be"),
        (lambda content: content.update(method=[]), "method must be"),
        (lambda content: content.update(pixels="yes"), "pixels must be"),
        (lambda content: content.update(classes=[[1], [2, 3]]), "classes must be"),
        (lambda content: content.update(classes=[]), "classes must be"),
        (lambda content: content.update(classes=["a", 1]), "classes must be"),
        (lambda content: content.update(classes=[1, 0]), "classes must be sorted"),
        (lambda content: content.update(class_names=["one"]), "class_names must be"),
        (lambda content: content.update(n_features_in=0), "n_features_in must be"),
        (lambda content: content.update(n_features_in=float("inf")), "n_features_in must be"),
        (lambda content: content.update(image_shape=5), "image_shape must be"),
        (lambda content: content.update(image_shape=[float("inf"), 8]), "image_shape must be"),
        (lambda content: content.update(image_shape=[8, 9]), "image_shape must be"),
        (lambda content: content.update(feature_names_in=["x"]), "feature_names_in must be"),
        (lambda content: content.update(background="black"), "background must be"),
    ],
)
def test_what_a_manifest_lacks_is_named(saved, change, words):
    rewrite(saved, change)
    with pytest.raises(InputError, match=rf"manifest\.json: .*{words}"):
        load_ensemble(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "{", "cannot be read"),
        (lambda text: json.dumps({**json.loads(text), "format_version": 99}), "format version 99"),
        (lambda text: json.dumps({**json.loads(text), "format_version": []}), "cannot be read"),
    ],
)
def test_another_manifest_is_refused(saved, change, words):
    manifest = saved / "manifest.json"
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(InputError, match=words):
        load_ensemble(saved)


def test_a_manifest_nested_deeper_than_can_be_read_is_refused(saved):
    (saved / "manifest.json").write_text('{"format_version": ' + "[" * 100_000)
    with pytest.raises(InputError, match="cannot be read"):
        load_ensemble(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": list(range(3))}, "member one knows other classes than the manifest"),
        ({"classes": list("abc")}, "member one knows other classes than the manifest"),
        ({"n_features_in": 7}, "member one takes 64 columns, the manifest says 7"),
    ],
)
def test_a_manifest_that_its_members_contradict_is_refused(saved, change, words):
    rewrite(saved, lambda content: content.update(change))
    with pytest.raises(InputError, match=words):
        load_ensemble(saved)


def test_a_stacker_of_others_is_refused(saved):
    one, two = saved.parent / "one.skops", saved.parent / "two.skops"
    write_bundle(saved, [("one", 0.5, 1.0, one), ("two", 0.5, 1.0, two)], ABOUT, stacker=one)
    with pytest.raises(InputError, match="the stacker belongs to other members or classes"):
        load_ensemble(saved)


def test_the_member_that_is_not_trusted_is_named(saved, digits):
    save_model(Trouble().fit(digits.X, digits.y), saved.parent / "odd.skops")
    write_bundle(saved, [("odd", 1.0, 1.0, saved.parent / "odd.skops")], ABOUT)
    with pytest.raises(InputError, match=r"member odd: holds types that are not trusted: troublemakers\.Trouble"):
        load_ensemble(saved)
    assert load_ensemble(saved, allow_import=["troublemakers"]).predict(digits.X[:3]).shape == (3,)


def test_a_path_in_the_manifest_cannot_leave_the_folder(saved):
    (saved / "0-one.skops").unlink()
    rewrite(saved, lambda content: content["members"][0].update(file="../one.skops"))
    with pytest.raises(InputError, match="missing or changed"):
        load_ensemble(saved)


def test_members_of_one_name_keep_their_own_files(saved, digits):
    one, two = saved.parent / "one.skops", saved.parent / "two.skops"
    before = one.read_bytes(), two.read_bytes()
    write_bundle(saved, [("stacker", 0.5, 1.0, one), ("stacker", 0.5, 1.0, two)], ABOUT, stacker=one)
    assert (one.read_bytes(), two.read_bytes()) == before
    assert len(list(saved.glob("*.skops"))) == 3
