import pytest

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.fidelity import Fidelity
from fmnist_bench.config.space import Range, Spec
from fmnist_bench.config.study import Benchmark, DefaultConfiguration, SearchSpace, Study

TREE = Spec("sklearn.tree.DecisionTreeClassifier", {"max_depth": Range(2, 9), "criterion": "entropy"})


@pytest.mark.parametrize(
    ("augmentation", "name"),
    [
        ("a.ConditionalGAN", "tree+gan"),
        ("a.ClassicAugmentation", "tree+classic"),
        ("a.Augmentation", "tree+augmentation"),
        ("a.GAN", "tree+gan"),
    ],
)
def test_a_study_is_named_after_its_augmentation(augmentation, name):
    space = SearchSpace("tree", TREE, augments=(Spec(augmentation, {}),))
    assert [study.name for study in space.studies] == ["tree", name]


def test_every_combination_of_augmentations_is_a_study():
    classic = Spec("fmnist_bench.models.ClassicAugmentation", {"ratio": Range(0.1, 1.0)})
    doubler = Spec("troublemakers.Doubler", {"ratio": Range(0.2, 2.0)})
    space = SearchSpace("tree", TREE, augments=(classic, doubler))
    assert [study.name for study in space.studies] == ["tree", "tree+classic", "tree+doubler", "tree+classic+doubler"]
    _, _, alone, both = space.studies
    assert [name for name in alone.ranges() if name.startswith("augment")] == ["augment__ratio"]
    values = {"model__max_depth": 3, "augment__classicaugmentation__ratio": 0.5, "augment__doubler__ratio": 1.0}
    assert both.ranges().keys() == values.keys()
    pipeline = both.pipeline(values, ("troublemakers",))
    assert {name: pipeline.get_params()[name] for name in values} == values
    pipeline.set_params(augment__doubler__ratio=2.0)
    assert dict(pipeline.augment.samplers)["doubler"].ratio == 2.0
    assert both.learner(("troublemakers",)) is None


def test_two_features_of_one_class_are_two_steps():
    scaler, pca = "sklearn.preprocessing.StandardScaler", "sklearn.decomposition.PCA"
    features = (
        Spec(scaler, {}),
        Spec(pca, {"n_components": Range(20, 30)}),
        Spec(pca, {"n_components": Range(5, 10)}),
        Spec(scaler, {"with_mean": False}),
    )
    study = Study(SearchSpace("two", TREE, features=features))
    names = ["features__pca-1__n_components", "features__pca-2__n_components"]
    assert list(study.ranges()) == [*names, "model__max_depth"]
    steps = study.pipeline({names[0]: 25, names[1]: 7, "model__max_depth": 3}).features.steps
    assert [name for name, _ in steps] == ["standardscaler-1", "pca-1", "pca-2", "standardscaler-2"]
    assert [step.n_components for _, step in steps[1:3]] == [25, 7]
    assert [steps[0][1].with_mean, steps[3][1].with_mean] == [True, False]
    assert study.settings({})["features__standardscaler-2__with_mean"] is False


def test_known_values_are_given_as_the_class_takes_them():
    tree = Spec("sklearn.tree.DecisionTreeClassifier", {"max_depth": 3})
    scaler = Spec("sklearn.preprocessing.MinMaxScaler", {})
    values = {"model__class_weight": {"0": 2.0, "1": 1.0}, "features__minmaxscaler__feature_range": [0, 2]}
    found = Study(SearchSpace("tree", tree, features=(scaler,))).pipeline(values).get_params()
    assert found["model__class_weight"] == {0: 2.0, 1: 1.0}
    assert found["features__minmaxscaler__feature_range"] == (0, 2)


def test_only_one_augmentation_of_a_study_may_learn():
    gans = tuple(Spec(f"troublemakers.{name}", {}) for name in ("Copyist", "OtherCopyist"))
    *_, both = SearchSpace("tree", TREE, augments=gans).studies
    with pytest.raises(InputError, match="study tree, .augment.: two augmentations of one study have to learn"):
        both.learner(("troublemakers",))


def test_settings_are_what_set_params_takes():
    study = Study(SearchSpace("tree", TREE))
    settings = study.settings({"model__max_depth": 4})
    assert settings == {
        "model": "sklearn.tree.DecisionTreeClassifier",
        "model__criterion": "entropy",
        "model__max_depth": 4,
    }
    pipeline = study.pipeline({"model__max_depth": 3})
    pipeline.set_params(**{name: value for name, value in settings.items() if "__" in name})
    assert pipeline.model.max_depth == 4


def test_known_values_may_set_constants_but_not_what_does_not_exist():
    study = Study(SearchSpace("tree", TREE))
    assert study.pipeline({"model__max_depth": 3, "model__criterion": "gini"}).model.criterion == "gini"
    with pytest.raises(InputError, match=r"no parameter model__depth; did you mean model__max_depth\?"):
        study.pipeline({"model__max_depth": 3, "model__depth": 3})


def test_uses_are_all_classes_that_a_study_names():
    nested = Spec("sklearn.calibration.CalibratedClassifierCV", {"estimator": TREE})
    space = SearchSpace("tree", nested, features=(Spec("sklearn.decomposition.PCA", {}),))
    assert space.uses == (
        "sklearn.decomposition.PCA",
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.tree.DecisionTreeClassifier",
    )


def test_a_network_is_what_compresses_its_schedule_with_rungs_of_epochs():
    epochs = Fidelity({"model__epochs": (2, 6)})
    spaces = (SearchSpace("a", TREE, fidelity=epochs), SearchSpace("b", TREE, fidelity=epochs), SearchSpace("c", TREE))
    benchmark = Benchmark("b", spaces=spaces).with_compressing({"a", "c"})
    assert [space.trains_network for space in benchmark.spaces] == [True, False, False]


def test_the_digest_ignores_the_budget():
    spaces = (SearchSpace("a", TREE), SearchSpace("b", TREE, augments=(Spec("x.GAN", {}),)))
    benchmark = Benchmark("b", spaces=spaces)
    assert benchmark.digest() == Benchmark("b", spaces=spaces, budget=5.0, trials=3).digest()
    assert benchmark.digest() == benchmark.with_compressing({"a"}).digest(), "that follows from the class"
    defaults = (SearchSpace("a", TREE, defaults=(DefaultConfiguration("0", {"model__max_depth": 3}),)), spaces[1])
    assert benchmark.digest() != Benchmark("b", spaces=defaults).digest()


def test_an_augmentation_that_learns_once_is_searched_in_free_parameters():
    gan = "fmnist_bench.models.ConditionalGAN"
    ratio, latent = {"ratio": Range(0.1, 1.0)}, {"latent": Range(32, 128)}
    assert Study(SearchSpace("tree", TREE), (Spec(gan, ratio),)).learner() is not None
    with pytest.raises(InputError, match=r"augment__latent: only ratio and balance may have a range"):
        Study(SearchSpace("tree", TREE), (Spec(gan, {**ratio, **latent}),)).learner()
    assert Study(SearchSpace("tree", TREE), (Spec("fmnist_bench.models.ClassicAugmentation", ratio),)).learner() is None
