"""The scripts that measure for hours build what they measure, and go on where they were stopped."""

import argparse
import contextlib
import importlib
import json
import random
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.errors import InputError
from fmnist_bench.config.loader import load_space
from fmnist_bench.config.study import Study
from fmnist_bench.data.dataset import load_dataset
from fmnist_bench.ensemble.loading import load_ensemble
from fmnist_bench.pipeline import Pipeline
from fmnist_bench.storage.find_runs import newest_run, open_folder

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    for folder in (FOLDER, *FOLDER.glob("*/")):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name in [name for name, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def test_transfer_builds_its_rivals(script):
    transfer = script("transfer")
    study = Study(load_space("efficientnet_lite0"))
    default = {default.name: default.parameters for default in study.space.defaults}
    for arguments in transfer.RIVALS.values():
        own = {key: value for key, value in arguments.items() if key != "name"}
        pipeline = transfer.build(study, default[arguments["name"]], own, seed=0)
        assert isinstance(pipeline, Pipeline)
        assert pipeline.model.get_params().items() >= own.items()


def test_pretrained_files_and_cards_are_made_of_a_run(script, finished_benchmark, tmp_path, monkeypatch):
    make = script("make")
    monkeypatch.setattr(make, "PRETRAINED", tmp_path / "pretrained")
    (tmp_path / "pretrained").mkdir()
    shutil.copytree(finished_benchmark[0] / "mlruns", tmp_path / "mlruns")
    with open_folder(newest_run("all", tmp_path / "mlruns")) as run:
        with pytest.raises(InputError, match="its best single model is bayes, no network"):
            make.best_network(run)
        assert make.small_trials(run, 1e-6) == []
        make.make(run, "ensemble", make.choose(run, make.small_trials(run, 2.0)))
    test, folder = load_dataset("digits", "test"), tmp_path / "pretrained" / "ensemble"
    right, card = load_ensemble(folder).score(test.X, test.y), (folder / "README.md").read_text()
    assert f"Test accuracy: {100 * right:.2f} % of {len(test.y):,} rows" in card
    assert digest_of_file(folder / "manifest.json") in card and "`, seed 0, " in card


def test_latency_measures_a_run_s_file_beside_its_ensemble(script, finished_benchmark, tmp_path):
    latency = script("latency")
    shutil.copytree(finished_benchmark[0] / "mlruns", tmp_path / "mlruns")
    options = argparse.Namespace(mlruns=tmp_path / "mlruns", name="all", repeat=1, cores=[0])
    found = latency.measure(options)
    assert found["difference"] < 1e-4
    assert [int(n) for n in found["milliseconds"]] == list(latency.BATCHES)
    assert all(set(took) == set(latency.WAYS) for took in found["milliseconds"].values())
    assert sum(line.startswith("| 1 | ") for line in latency.report([found], {"processor": "any"})) == 3


def test_gan_paired_builds_its_contestants(script, tmp_path):
    paired = script("gan_paired")
    for share in (0.01, 1.0):
        built = [paired._pipeline(*names, share, tmp_path, {"random_state": 0}) for names in paired._contestants(share)]
        assert len(built) == (20 if share < 1 else 12)


def test_keras_as_shipped_has_no_layer_of_ours(script):
    speed = script("cnn_speed")
    for network in speed.NETWORKS:
        model = speed.estimator(network, epochs=1)
        own, plain = model._build((28, 28, 1), 10), speed.plain_network(model)
        assert any("fmnist_bench" in type(layer).__module__ for layer in own.layers)
        assert not any("fmnist_bench" in type(layer).__module__ for layer in plain.layers[-1].layers)
        assert plain.count_params() == own.count_params()


def test_figures_of_another_processor_or_size_do_not_share_a_page(script, tmp_path):
    kept = script("_kept")
    found = kept.open_figures(tmp_path / "f.json", rows=100)
    kept.keep_figures(tmp_path / "f.json", {**found, "speed": 1})
    assert kept.open_figures(tmp_path / "f.json", rows=100)["speed"] == 1
    with pytest.raises(SystemExit, match=r"f\.json: was measured with .*'rows': 100"):
        kept.open_figures(tmp_path / "f.json", rows=2000)
    content = json.loads((tmp_path / "f.json").read_text())
    content["measured"]["processor"] = "Z80"
    (tmp_path / "f.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="Z80"):
        kept.open_figures(tmp_path / "f.json", rows=100)


@pytest.mark.parametrize(
    ("gpu", "backend", "expected"),
    [
        (None, "tensorflow", "cnn_speed.json"),
        (None, "jax", "cnn_speed-jax.json"),
        ("NVIDIA L4 (networks on tensorflow)", "tensorflow", "cnn_speed-gpu-tensorflow.json"),
        ("NVIDIA L4 (networks on jax)", "jax", "cnn_speed-gpu-jax.json"),
    ],
)
def test_figures_of_a_gpu_and_of_another_back_end_are_kept_apart(gpu, backend, expected, script, tmp_path, monkeypatch):
    kept = script("_kept")
    there = {"processor": "x", **({"GPU": gpu} if gpu else {})}
    monkeypatch.setattr(kept, "machine", lambda: there)
    monkeypatch.setattr(kept, "backend", lambda: backend)
    assert kept.kept(str(tmp_path / "cnn_speed.py")) == tmp_path / expected
    found = kept.open_figures(tmp_path / expected, rows=1)
    assert found["measured"] == {**there, "rows": 1}
    variable = f"KERAS_BACKEND={backend} " if gpu else ""
    said = kept.commands(str(FOLDER / "networks/cnn_speed.py"), found, ["", " --minutes 5"])
    call = f"{variable}python benchmarks/networks/cnn_speed.py"
    assert said == f"`{call}`; `{call} --minutes 5`"


def test_what_students_gain_is_counted_seed_by_seed(script):
    distillation = script("distillation")
    row = {"rows": 60_000, "epochs": 6, "weights": 75_000, "seconds": 90.0, "cpu_seconds": 88.0}
    rows = [{**row, "way": way, "seed": seed, "accuracy": 0.92 + place / 100 + seed / 1000}
            for seed in range(3) for place, way in enumerate(distillation.WAYS)]  # fmt: skip
    teacher = {"members": ["cnn-1"], "accuracy": 0.94, "train_accuracy": 0.99, "train_confidence": 0.97}
    found = {"measured": {}, "teacher": {**teacher, "gan": {"steps": 3000, "seconds": 200}}, "rows": rows}
    lines = list(distillation.report(found))
    assert "| taught | 60,000 | 6 | 93.10 | 93.00 to 93.20 | 0.10 | 88 |" in lines
    assert "- alone -> taught: +1.00 (n = 3: +1.00, +1.00, +1.00)" in lines
    assert distillation.build(2, 0).get_params().items() >= {"filters": 16, "epochs": 2, "random_state": 0}.items()


def test_pages_are_written_of_what_is_there(script):
    transfer, speed = script("transfer"), script("cnn_speed")
    one = {"fit": 60.0, "predict": 2.0, "accuracy": 0.9}
    found = {"measured": {"rows": 60_000, "processor": "x"}, "fine-tuned, 64 pixels": {"transfer 0": one}}
    assert not [line for line in transfer.report(found) if line.startswith("| fine")]
    found["fine-tuned, 64 pixels"]["cnn 0"] = {**one, "accuracy": 0.93}
    (line,) = (line for line in transfer.report(found) if line.startswith("| fine"))
    assert line.startswith("| fine-tuned, 64 pixels | 1 | 60 (60 to 60) |")
    assert "93.00 (93.00 to 93.00)" in line
    rates = {"CNNClassifier": [300.0, 330.0, 310.0], "Keras, as shipped": [150.0, 160.0, 155.0]}
    one = {"minutes": 5.0, "network": "6conv", "seconds": 299.0, "accuracy": 0.94}
    accuracy = [{**one, "seed": seed} for seed in range(3)]
    lines = list(speed.report({"measured": {}, "speed": {"4conv": rates}, "accuracy": accuracy}))
    assert "| 4conv | Keras, as shipped | 155 (150 to 160) | 3 | 2.00 times |" in lines
    assert "| 5 | 6conv | 94.00 (94.00 to 94.00) | 3 |" in lines
    leads = script("cnn_leads")
    found = {
        "measured": {},
        "speed": {"as it is": [300.0], "compiled": [150.0]},
        "6 epochs": {"as it is": [92.0, 93.0]},
    }
    found["6 epochs"]["float32"] = [92.5]
    lines = list(leads.report(found))
    assert "| compiled | 150 (150 to 150) | 1 | 2.00 times as long |" in lines
    assert "| float32 | 92.50 (92.50 to 92.50) | 1 | +0.50 |" in lines
    found["2.5 minutes"] = {"as it is": [91.0], "residual blocks": [92.0]}
    lines = list(leads.report(found))
    assert "| residual blocks | 92.00 (92.00 to 92.00) | 1 | +1.00 |" in lines
    assert any("cnn_leads.py --accuracy --minutes 2.5`" in line for line in lines)


def test_a_run_and_a_network_are_compared_by_rows(script, tmp_path, monkeypatch):
    regret = script("no_regret")
    monkeypatch.setattr(regret, "HERE", tmp_path)
    shared = {"minutes": 10.0, "seed": 0, "processor": "x", "revision": "abc"}
    right = {"network": "1110" * 25, "run": "1111" * 20 + "1110" * 5}
    for what, word in right.items():
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "results" / f"{what}.json").write_text(json.dumps({**shared, "what": what, "right": word}))
    (line,) = (line for line in regret.report() if line.startswith("| 10 "))
    assert line.startswith("| 10 | x | abc | 0 | 75.00 (")
    assert "| 95.00 (" in line
    assert "| +20.00 (+" in line


def test_the_first_line_comes_before_the_first_score(script):
    first = script("first_score")
    line, score = first.measure(["run", "knn", "--data", "digits", "--trials", "1"])
    assert 0 < line < score
    page = first.report([(0.1, 9.0), (0.3, 8.0), (0.2, 10.0)], "run")
    assert "| first complete trial | 9.00 (8.00 to 10.00) |" in page
    with pytest.raises(SystemExit, match="run knnn: no complete trial; exit status 2"):
        first.measure(["run", "knnn"])


def test_runs_that_do_not_belong_together_are_refused(script):
    check = script("ensembles").check
    run = {"data": "fashion-mnist", "budget": 600.0, "seed": 0}
    check([run, {**run, "seed": 1}])
    for other, words in (({}, "same seed"), ({"budget": 60.0}, "same budget"), ({"data": "digits"}, "same data")):
        with pytest.raises(SystemExit, match=words):
            check([run, {**run, **other}])


def test_the_speed_of_a_prediction_is_that_of_a_run(script, small_benchmark, digits):
    predict = script("predict")
    page = list(predict.report(open_folder(newest_run("all", "mlruns")), digits.X, repeat=1))
    speeds = [line.split("|")[1].strip() for line in page if line.startswith("| ")][2:]
    assert speeds[:2] == ["ensemble, members side by side", "ensemble, one member at a time"]
    assert any(name.startswith("member bayes-") for name in speeds)
    assert any(line.startswith("Loaded in ") for line in page)


def test_a_seed_that_failed_is_tried_before_the_next_one(script):
    leads = script("cnn_leads")
    found = {"as it is": [93.0], "float32": []}
    assert [leads._is_missing(found, name, turn) for name in found for turn in (0, 1, 2)] == [
        *(False, True, False),
        *(True, False, False),
    ]


def test_mutated_inputs_work_or_are_refused_in_one_line(script, monkeypatch):
    monkeypatch.setattr(script("_mutations"), "LONGEST", 300)  # a loaded machine is no fault
    tried = list(script("_mutations").mutations(200, 1))
    assert len(tried) == 200
    assert [fault for _, fault in tried if fault] == []
    again = script("_mutations").MAKERS["line"]
    assert again(None, random.Random("1 7"))[0] == again(None, random.Random("1 7"))[0], "a seed makes it happen again"


def raiser(error):
    def make(_, chance):
        def use():
            if error is not None:
                raise error

        return "an input", use

    return make


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, ""),
        (InputError("no such thing"), ""),
        (KeyError("model"), "KeyError: 'model' .* of 'an input'"),
        (RecursionError("too deep"), "RecursionError"),
        (SystemExit(2), "exit 2: '' of"),
    ],
)
def test_what_a_mutated_input_may_not_do_is_told(script, error, words):
    name, fault = script("_mutations")._try("mutation 3", raiser(error), None, random.Random(0))
    assert name == "mutation 3"
    assert re.match(words, fault) if words else not fault


def test_what_a_run_left_and_does_not_agree_is_told(script, small_benchmark, tmp_path):
    campaign, (run,) = script("_campaign"), tmp_path.glob("mlruns/runs/*")
    assert campaign.unsound(tmp_path) == []
    before = campaign.records_of(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as database, database:
        trial = "(SELECT run_uuid FROM tags WHERE key = 'trial' AND value = '0')"
        database.execute(f"UPDATE runs SET status = 'RUNNING' WHERE run_uuid = {trial}")
        database.execute(f"UPDATE latest_metrics SET value = 0.5 WHERE key = 'valid_accuracy' AND run_uuid = {trial}")
    record = json.loads((run / "trials/bayes/1/trial.json").read_text())
    record["parameters"] = json.loads((run / "trials/bayes/0/trial.json").read_text())["parameters"]
    (run / "trials/bayes/1/trial.json").write_text(json.dumps(record))
    shutil.rmtree(run / "ensemble")
    (run / "report.html").unlink()
    faults = campaign.unsound(tmp_path)
    for words in (
        "report.html is missing",
        "has other parameters of bayes 1",
        "trial bayes 1 repeats an earlier one",
        "MLflow shows bayes 0 as RUNNING",
        "MLflow has another accuracy of bayes 0",
        "the ensemble does not predict",
    ):
        assert any(words in fault for fault in faults), (words, faults)
    assert campaign.changed(before) == ["trial bayes 1 was complete and is other"]


def test_a_call_ends_well_refuses_in_one_line_or_is_a_fault(script):
    ended = script("_campaign").Ended
    assert not ended(0, "", "").fault
    assert not ended(2, "", "warning: old\nerror: no such file\n").fault
    assert ended(2, "", "Traceback ...\nerror: no such file\n").fault
    assert ended(70, "", "error: KeyError\n").fault == "exit 70: error: KeyError"
    assert ended(-9, "", "").fault == "exit -9: without a word"


def test_the_page_of_faults_tells_each_failure(script):
    faults = script("faults")
    tally = faults.count("damage", iter([("journal gone", ""), ("journal cut", "exit 70")]))
    page = list(faults.report([tally], 0))
    assert any(line.startswith("| damage | 2 | 1 | 1 |") for line in page)
    assert "- journal cut: `exit 70`" in page


@pytest.mark.slow
def test_one_kill_and_one_damage_of_each_kind_are_survived(script):
    damage = (
        "journal emptied",
        "cache removed in progress",
        "class surrogate",
        "study with a cache",
        "data are a pickle",
    )
    tried = [*script("_kills").kills(1, 0), *script("_damage").damage(damage)]
    assert len(tried) == 1 + len(damage)
    assert [(name, fault) for name, fault in tried if fault] == []
