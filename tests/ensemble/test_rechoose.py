import json
import shutil

import numpy as np
import pytest

from fmnist_bench import load_ensemble
from fmnist_bench._utils.errors import InputError
from fmnist_bench.cli import main
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.rechoose import choose_offline, save_offline
from fmnist_bench.storage.find_runs import newest_run, open_folder
from fmnist_bench.storage.trial_folder import TEST_PROBABILITIES


@pytest.fixture
def run(small_benchmark):
    """A run on digits with two trials of one study."""
    return open_folder(newest_run("all"))


def seen(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("method", ["greedy", "logistic", "mean"])
def test_each_method_chooses_by_what_the_trials_left_and_writes_nothing(run, method):
    before = seen(run.store.folder)
    found = choose_offline(run, method)
    assert seen(run.store.folder) == before
    assert found.n_offered == 2 and set(found.keys) <= {("bayes", 0), ("bayes", 1)}
    assert method == "greedy" or len(found.members) == 1, "the best trial of each study"
    assert found.combination.weights.sum() == pytest.approx(1)
    members = np.stack([run.valid_probabilities(*key) for key in found.keys])
    assert (found.combination.apply(members).argmax(axis=1) == run.y_valid()).tolist() == found.right.tolist()
    assert (
        found.right_left_out.shape == found.right.shape and abs(found.right_left_out.mean() - found.right.mean()) < 0.1
    )


def test_a_study_that_is_named_twice_is_offered_once(run):
    found = choose_offline(run, studies=["bayes", "bayes"])
    assert found.n_offered == 2 and len(set(found.keys)) == len(found.keys)


def test_the_run_chose_what_greedy_selection_chooses_again(run):
    found = choose_offline(run)
    chosen = {(study, number): weight for study, number, weight, _ in run.state["members"]}
    assert dict(zip(found.keys, found.combination.weights, strict=True)) == pytest.approx(chosen)


@pytest.mark.parametrize("method", ["greedy", "mean"])
def test_members_keep_to_the_limit_together(run, method):
    n = len(run.y_valid())
    costs = sorted(1000 * record.result.predict_seconds / n for record in run.records("bayes"))
    found = choose_offline(run, method, max_latency=costs[-1])
    assert len(found.members) == 1 and found.costs.sum() <= costs[-1]
    with pytest.raises(InputError, match="the fastest of 2 trials takes"):
        choose_offline(run, method, max_latency=costs[0] / 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method": "best"}, "method 'best': must be one of greedy, logistic, mean"),
        ({"max_latency": 0.0}, "max-latency 0.0: must be a number of milliseconds above 0"),
        ({"max_latency": float("nan")}, "must be a number"),
        ({"studies": ["bayse"]}, "the run has no 'bayse', but bayes; did you mean bayes?"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(run, given, words):
    with pytest.raises(InputError) as error:
        choose_offline(run, **given)
    assert words in str(error.value)


def test_a_trial_whose_model_was_not_kept_is_offered_only_as_a_what_if(run, tmp_path):
    for number in (0, 1):
        run.model_file("bayes", number).unlink()
    with pytest.raises(InputError, match="holds no complete trial to choose from"):
        choose_offline(run)
    found = choose_offline(run, every_trial=True)
    with pytest.raises(InputError, match="its model was not kept; leave out --every-trial"):
        save_offline(run, found, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_trial_with_damaged_probabilities_is_not_offered(run):
    (run.trial_folder("bayes", 0) / "valid_probabilities.npy").write_bytes(b"no array")
    assert choose_offline(run, "mean").keys == [("bayes", 1)]


@pytest.mark.parametrize("method", ["greedy", "logistic"])
def test_what_is_saved_predicts_as_what_was_chosen(run, tmp_path, method):
    found = choose_offline(run, method)
    save_offline(run, found, tmp_path / "mine")
    ensemble, data = load_ensemble(tmp_path / "mine"), load_dataset("digits")
    with np.load(run.folder / "split.npz") as split:
        rows = split["validation"]
    assert ((ensemble.predict(data.X[rows]) == data.classes[data.y[rows]]) == found.right).all()
    (other := tmp_path / "other").mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is no saved ensemble"):
        save_offline(run, found, other)


def test_the_verb_shows_validation_scores_and_counts_each_opening_of_the_test_rows(run, capsys):
    before = seen(run.store.folder)
    assert main(["ensemble", "all", "--method", "mean"]) == 0
    printed = capsys.readouterr().out
    assert seen(run.store.folder) == before
    assert "1 of 2 trials, by the plain mean" in printed and "not opened now, once before" in printed
    assert main(["ensemble", str(run.folder), "--open-test-set"]) == 0
    printed = capsys.readouterr().out
    assert "opened 2 times" in printed
    kept = json.loads((run.folder / "run.json").read_text())
    assert kept["test_set_opened"] == 2
    assert f"{100 * kept['scores']['ensemble']['test_accuracy']:.2f} %" in printed
    assert main(["ensemble", "all", "--open-test-set"]) == 0
    assert "opened 3 times" in capsys.readouterr().out


def test_a_run_that_was_killed_has_an_ensemble_to_choose(run, capsys):
    state = json.loads((run.folder / "run.json").read_text())
    for key in ("environment", "scores", "members", "latency", "offered", "max_steps", "test_set_opened"):
        del state[key]
    (run.folder / "run.json").write_text(json.dumps(state))
    shutil.rmtree(run.ensemble_folder)
    (run.folder / "report.md").unlink()
    assert main(["ensemble", "all", "--save", "mine"]) == 0
    printed = capsys.readouterr().out
    assert "0 times before" in printed and "the run's own" not in printed
    assert load_ensemble("mine").members_


def test_a_run_of_an_earlier_version_is_chosen_and_scored_again(run, capsys):
    state = json.loads((run.folder / "run.json").read_text())
    for key in ("offered", "max_steps", "test_set_opened", "test_fingerprint", "reading", "in_memory", "networks"):
        state.pop(key, None)
    (run.folder / "run.json").write_text(json.dumps(state))
    for number in (0, 1):
        (run.trial_folder("bayes", number) / TEST_PROBABILITIES).unlink()
    assert main(["ensemble", "all", "--save", "mine"]) == 0
    assert "not opened now, once before" in capsys.readouterr().out and load_ensemble("mine").members_
    assert main(["ensemble", "all", "--open-test-set"]) == 0
    printed = capsys.readouterr().out
    assert f"{100 * state['scores']['ensemble']['test_accuracy']:.2f} %" in printed and "opened 2 times" in printed


def test_a_run_over_arrays_is_saved_by_the_rows_in_the_cache(run, tmp_path):
    run.save_state(in_memory=True, data="arrays")
    save_offline(run, choose_offline(run), tmp_path / "again")
    assert load_ensemble(tmp_path / "again").n_features_in_ == 64
    shutil.rmtree(run.store.cache)
    with pytest.raises(InputError, match="the rows of .* are lost"):
        save_offline(run, choose_offline(run), tmp_path / "third")
