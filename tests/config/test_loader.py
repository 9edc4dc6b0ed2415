import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import describe, load_benchmark, load_space, load_suite, parse_duration
from fmnist_bench.config.study import Study

STUDY = """
[[features]]
use = "sklearn.decomposition.PCA"
n_components = { low = 2, high = 9 }

[model]
use = "sklearn.ensemble.RandomForestClassifier"
max_depth = { low = 2, high = 9 }
n_estimators = 10

[[default]]
name = "deep"
max_depth = 9
n_estimators = 20
features__pca__n_components = 5
"""

SUITE = """
data = ["digits", "a.npz"]
rows = [300, 6000]
seed = 5
seeds = 2
budget_per_task = "40s"
studies = ["mine"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "studies" / "mine.toml").write_text(STUDY)
    return tmp_path


def test_a_study_of_the_working_directory_is_found(folder):
    space = load_space("mine")
    assert list(Study(space).ranges()) == ["features__pca__n_components", "model__max_depth"]
    assert space.defaults[0].parameters == {
        "model__max_depth": 9,
        "model__n_estimators": 20,
        "features__pca__n_components": 5,
    }


def test_known_values_build_the_pipeline(folder):
    study = load_benchmark("mine-deep").studies[0]
    pipeline = study.pipeline(study.space.defaults[0].parameters)
    parameters = pipeline.get_params()
    assert parameters["model__n_estimators"] == 20
    assert parameters["features__pca__n_components"] == 5


def test_a_study_with_augmentation_has_two_studies_named_after_it(folder):
    (folder / "studies" / "two.toml").write_text(STUDY + '[augment]\nuse = "fmnist_bench.models.ConditionalGAN"\n')
    (folder / "benchmarks" / "b.toml").write_text('studies = ["two", "mine"]\n')
    benchmark = load_benchmark("b")
    assert [study.name for study in benchmark.studies] == ["two", "two+gan", "mine"]
    (folder / "benchmarks" / "b.toml").write_text('studies = ["two", "mine"]\naugment = false\n')
    assert [study.name for study in load_benchmark("b").studies] == ["two", "mine"]


def test_several_augmentations_are_tables_of_different_classes(folder):
    table = '[[augment]]\nuse = "fmnist_bench.{}"\n'
    gan, classic = table.format("augment.ConditionalGAN"), table.format("classic.ClassicAugmentation")
    (folder / "studies" / "four.toml").write_text(STUDY + classic + gan)
    names = [study.name for study in load_benchmark("four").studies]
    assert names == ["four", "four+classic", "four+gan", "four+classic+gan"]
    (folder / "studies" / "four.toml").write_text(STUDY + classic + classic)
    with pytest.raises(InputError, match="there would be two studies four.classic"):
        load_benchmark("four")


def test_the_digest_knows_what_makes_runs_comparable(folder):
    (folder / "benchmarks" / "b.toml").write_text('budget = "1m"\nstudies = ["mine"]\n')
    first = load_benchmark("b").digest()
    (folder / "benchmarks" / "b.toml").write_text('budget = "2h"\nstudies = ["mine"]\n')
    assert load_benchmark("b").digest() == first
    (folder / "benchmarks" / "b.toml").write_text('budget = "2h"\nstudies = ["mine"]\n[ensemble]\nmax_latency = 0.5\n')
    assert load_benchmark("b").ensemble.max_latency == 0.5
    assert load_benchmark("b").ensemble.refit == "networks"
    assert load_benchmark("b").digest() == first, "the same search, another choice"
    (folder / "benchmarks" / "b.toml").write_text('budget = "2h"\nstudies = ["mine"]\n[distill]\n')
    assert [student.name for student in load_benchmark("b").students] == ["distilled", "undistilled"]
    assert load_benchmark("b").digest() == first, "what it teaches is no part of the search"
    (folder / "benchmarks" / "b.toml").write_text('budget = "2h"\nseed = 1\nstudies = ["mine"]\n')
    assert load_benchmark("b").digest() != first


def test_every_data_set_at_every_size_is_a_task(folder):
    (folder / "benchmarks" / "s.toml").write_text(SUITE)
    suite = load_suite("s")
    names = ["digits, 300 rows", "digits, 6,000 rows", "a.npz, 300 rows", "a.npz, 6,000 rows"]
    assert [task.name for task in suite.tasks] == names and list(suite.seeds()) == [5, 1005]
    runs = [(task.name, benchmark.data, benchmark.rows, benchmark.seed) for task, benchmark in suite.runs()]
    assert len(set(runs)) == 8 and runs[4] == (names[0], "digits", 300, 1005)
    assert {benchmark.budget for _, benchmark in suite.runs()} == {40}
    (folder / "benchmarks" / "s.toml").write_text(SUITE.replace('"mine"', '"mine", "knn"'))
    lines = describe("s").splitlines()
    assert lines[1] == "  digits, 300 rows, 0.666667 minutes, each of 2 seeds" and len(lines) == 1 + 4 + 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("budget_per_task", "budget"), "budget: of a suite each task has its own; write budget_per_task"),
        (("seed = 5", 'budget = "2m"'), "mean the same"),
        (("seed = 5", "valid_size = 50"), "valid_size: must be a fraction where there are several rows"),
        (("seeds = 2", "seeds = 5000000"), "s.toml: seeds 5000000: must be a whole number of 1 to 4294968"),
    ],
)
def test_what_a_suite_cannot_mean_is_refused(folder, change, words):
    (folder / "benchmarks" / "s.toml").write_text(SUITE.replace(*change))
    with pytest.raises(InputError, match=words):
        load_suite("s")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model", "not a readable TOML file"),
        (f"[model]\nx = {'9' * 5000}\n", "not a readable TOML file"),
        (f"[model]\nx = {'[' * 5000}\n", "not a readable TOML file"),
        ("", r"needs a table \[model\]"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[modle]\n', "unknown key modle; did you mean model"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[features]\nuse = "x"\n', r"must be written as tables \[\[features\]\]"),
        ('[model]\nuse = "sklearn.svm.SVC"\nC = {low = 1, high = 2}\n[[default]]\nC = 7\n', "model__C = 7 is outside"),
        (
            '[model]\nuse = "sklearn.svm.SVC"\nC = {low = 1, high = 9, step = 2}\n[[default]]\nC = 4\n',
            r"model__C = 4 is outside its range \[1, 9\] step 2",
        ),
        ('[model]\nuse = "sklearn.svm.SVC"\n[[default]]\nC = {low = 1}\n', "model__C: must be a number, a string"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[fidelity]\nmax_iter = [9, 9]\n', "each rung must cost more"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[fidelity]\nmax_iter = [0, 9, 8]\n', "two or more numbers that do not"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[fidelity]\nmax_iter = [0, 9]\n', "one list that begins above 0 must rise"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[fidelity]\nmax_iter = [9, inf]\n', "two or more numbers that do not"),
        ('[model]\nuse = "sklearn.svm.SVC"\n[resources]\ngpus = inf\n', "expected a number above 0"),
        ("\xff", "unknown key|not a readable"),
    ],
)
def test_a_bad_study_names_file_and_fault(folder, text, words):
    (folder / "studies" / "bad.toml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=words) as error:
        load_space("bad")
    assert "bad.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_none_is_a_constant_a_choice_and_a_known_value(folder):
    (folder / "studies" / "none.toml").write_text(
        '[model]\nuse = "sklearn.tree.DecisionTreeClassifier"\nmax_leaf_nodes = { none = true }\n'
        "max_depth = { choices = [3, { none = true }] }\n[[default]]\nmax_depth = { none = true }\n"
    )
    space = load_space("none")
    assert space.defaults[0].parameters == {"model__max_depth": None}
    assert Study(space).pipeline(space.defaults[0].parameters).model.get_params()["max_leaf_nodes"] is None


def test_two_studies_of_one_name_are_refused(folder):
    (folder / "studies" / "mine+gan.toml").write_text(STUDY)
    (folder / "studies" / "mine.toml").write_text(STUDY + '[augment]\nuse = "fmnist_bench.models.ConditionalGAN"\n')
    (folder / "benchmarks" / "b.toml").write_text('studies = ["mine", "mine+gan"]\n')
    with pytest.raises(InputError, match=r"b.toml, studies: there would be two studies mine\+gan"):
        load_benchmark("b")
    (folder / "benchmarks" / "b.toml").write_text('studies = ["mine", "mine+gan"]\naugment = false\n')
    assert [study.parts for study in load_benchmark("b").studies] == [("mine",), ("mine+gan",)]


def test_a_study_may_not_be_called_like_the_ensemble(folder):
    (folder / "studies" / "ensemble.toml").write_text('[model]\nuse = "sklearn.svm.SVC"\n')
    with pytest.raises(InputError, match="may not be called ensemble"):
        load_space("ensemble")


def test_a_study_whose_name_ends_like_a_configuration_is_searched_too(folder):
    (folder / "studies" / "net-0.toml").write_text('[model]\nuse = "sklearn.svm.SVC"\nC = 1.0\n[[default]]\nC = 3.0\n')
    whole, one = load_benchmark("net-0"), load_benchmark("net-0-0")
    assert (whole.trials, whole.budget is None) == (None, False)
    assert (one.trials, one.budget) == (1, None)


def test_what_long_trainings_need_begins_with_zero_and_costs_nothing(folder):
    (folder / "studies" / "long.toml").write_text(
        '[model]\nuse = "sklearn.svm.SVC"\n[fidelity]\nmax_iter = [10, 20, 40]\ntol = [0, 0, 0.1]\n'
    )
    fidelity = load_space("long").fidelity
    assert [fidelity.at(rung) for rung in (0, 2)] == [
        {"model__max_iter": 10, "model__tol": 0},
        {"model__max_iter": 40, "model__tol": 0.1},
    ]
    assert fidelity.costs == (0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[studies]\nmine = 1\n", "needs a list"),
        ('studies = ["none"]\n', "no study is called none"),
        ('studies = ["mine", "mine"]\n', "named twice"),
        ('rows = 0\nstudies = ["mine"]\n', "rows must be a whole number of at least 1"),
        ('valid_size = 1.5\nstudies = ["mine"]\n', "fraction between 0 and 1"),
        ('augment = 1\nstudies = ["mine"]\n', "augment must be true or false, found 1"),
        ('seed = -1\nstudies = ["mine"]\n', "seed must be a whole number of at least 0"),
        ('seed = 4294967294\nstudies = ["mine"]\n', "at least 0 and at most 4294967293"),
        ('budget = "0"\nstudies = ["mine"]\n', "above zero"),
        ('bugdet = 3\nstudies = ["mine"]\n', "did you mean budget"),
        ('studies = ["mine"]\n[ensemble]\nsteps = 1\n', "unknown key steps"),
        ('studies = ["mine"]\n[ensemble]\nrefit = "full"\n', "refit must be one of no, networks, found 'full'"),
        ('studies = ["mine"]\n[ensemble]\nmax_latency = 0\n', "max_latency must be a number of milliseconds above 0"),
        ('studies = ["mine"]\n[distill]\nstudents = 3\n', "unknown key students; did you mean student"),
        ('studies = ["mine"]\n[distill]\nshare = 0.6\n', "share must be a number above 0 and at most 0.5"),
        ('studies = ["mine"]\n[distill]\nstudent = "mine"\n', "mine has ranges, such as of features.*cnn-small"),
        ('studies = ["mine"]\n[distill]\nsynthetic = true\n', r"no study of the benchmark has a table \[augment\]"),
        ('studies = ["distilled"]\n[distill]\n', r"distilled is the name of what \[distill\] teaches; rename the file"),
    ],
)
def test_a_bad_benchmark_is_refused(folder, text, words):
    (folder / "studies" / "distilled.toml").write_text(STUDY)
    (folder / "benchmarks" / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        load_benchmark("bad")
    assert "bad.toml" in str(error.value)


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match=r"called smoek; did you mean smoke\?"):
        load_benchmark("smoek")
    with pytest.raises(InputError, match=r"did you mean cnn-4conv"):
        load_benchmark("cnn-4cnov")
    with pytest.raises(InputError, match="there is no such file"):
        load_benchmark("nowhere/x.toml")


@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999))
def test_durations_add_up(hours, minutes, seconds):
    total = 3600 * hours + 60 * minutes + seconds
    text = f"{hours}h{minutes}m{seconds}s"
    if total:
        assert parse_duration(text) == total
    else:
        with pytest.raises(InputError, match="above zero"):
            parse_duration(text)


@pytest.mark.parametrize(
    "budget",
    ["1h30", "2h5", "10m30", "s", "", "1e3", "-5", "٣m", True, None, [1], float("nan"), float("inf"), "9" * 400],
)
def test_what_is_no_duration_is_refused(budget):
    with pytest.raises(InputError, match="budget"):
        parse_duration(budget)


def test_a_number_is_a_duration_in_seconds():
    assert [parse_duration(budget) for budget in (90, 0.5, "90", "1.5h")] == [90.0, 0.5, 90.0, 5400.0]


@given(st.text(max_size=12))
def test_a_duration_is_a_positive_number_or_an_error(text):
    try:
        seconds = parse_duration(text)
    except InputError as error:
        assert "\n" not in str(error).replace(repr(text), "")
    else:
        assert seconds > 0
        assert math.isfinite(seconds)


@pytest.mark.parametrize("name", ["all", "cnn", "cnn-4conv"])
def test_a_shipped_file_is_described(name):
    text = describe(name)
    assert text.startswith(name)
    expected = {"all": "  hog_svm\n", "cnn": "  model__learning_rate [0.2, 0.6] log", "cnn-4conv": "CNNClassifier"}
    assert expected[name] in text
