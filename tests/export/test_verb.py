import contextlib
import io
import json
import shutil
import subprocess
import venv

import numpy as np
import pytest
from onnx_files import run

from fmnist_bench import load_ensemble
from fmnist_bench.cli import main
from fmnist_bench.export import verb
from fmnist_bench.storage.find_runs import newest_run
from fmnist_bench.tracking.folder import settle


@pytest.fixture(scope="module")
def exported(finished_benchmark, tmp_path_factory):
    """Export a copy of the small benchmark once; return the run's folder, that of the results, what was printed."""
    folder = tmp_path_factory.mktemp("exported") / "mlruns"
    shutil.copytree(finished_benchmark[0] / "mlruns", folder)
    settle(folder / "mlflow.db")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["export", "all", "--mlruns", str(folder)]) == 0
    return newest_run("all", folder), folder, printed.getvalue()


def test_a_run_is_exported_and_measured(exported, digits):
    folder, _, said = exported
    ensemble = load_ensemble(folder / "ensemble")
    probabilities, labels = run(folder / "ensemble.onnx", digits.X.reshape(-1, 8, 8))
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(digits.X), atol=1e-4)
    np.testing.assert_array_equal(labels, ensemble.predict(digits.X))
    facts = json.loads((folder / "ensemble.onnx.json").read_text())
    assert facts["difference"] <= 1e-4 and facts["bytes"] == (folder / "ensemble.onnx").stat().st_size
    assert {row["rows"] for row in facts["latency"]} == {1, 100, 1000}
    assert f"agrees with the original on {facts['rows']} validation rows" in said and "ms a row" in said
    assert said.endswith("python -m fmnist_bench report all adds this to the report\n")


def test_the_report_shows_the_export_until_the_ensemble_changes(exported, capsys, no_figures):
    folder, mlruns, _ = exported
    pages = [folder / "report.md", folder / "report.html"]
    assert main(["report", "all", "--mlruns", str(mlruns)]) == 0
    assert all("ensemble.onnx" in page.read_text() for page in pages)
    kept = (facts := folder / "ensemble.onnx.json").read_text()
    facts.write_text(json.dumps(json.loads(kept) | {"manifest": "of another one"}))
    assert main(["report", "all", "--mlruns", str(mlruns)]) == 0
    assert not any("ensemble.onnx" in page.read_text() for page in pages)
    facts.write_text(kept)


def test_a_member_may_be_left_out_of_the_file(small_benchmark, capsys, tmp_path):
    members = [name for name, _ in load_ensemble(newest_run("all") / "ensemble").members_]
    assert main(["export", "all", "--drop", *members]) == 2
    assert "no member would be left" in capsys.readouterr().err
    assert main(["export", "all", "--drop", "bayes-9"]) == 2
    assert "no such member" in capsys.readouterr().err


def test_a_folder_without_its_run_is_refused_in_one_line(small_benchmark, tmp_path, capsys):
    ensemble = load_ensemble(newest_run("all") / "ensemble")
    ensemble.data_fingerprint_ = "of other rows"
    ensemble.save(tmp_path / "alone")
    assert main(["export", str(tmp_path / "alone")]) == 2
    assert "no run below mlruns has learnt from the same rows" in capsys.readouterr().err


@pytest.mark.slow
def test_a_saved_ensemble_is_compared_on_the_rows_of_its_run(small_benchmark, tmp_path, capsys):
    load_ensemble(newest_run("all") / "ensemble").save(tmp_path / "copy")
    assert main(["export", str(tmp_path / "copy"), "--out", "small.onnx"]) == 0
    assert {path.name for path in tmp_path.glob("small*")} == {"small.onnx", "small.onnx.json"}
    assert not (newest_run("all") / "ensemble.onnx.json").exists()


def test_a_missing_library_is_named(small_benchmark, monkeypatch, capsys):
    monkeypatch.setattr(verb, "LIBRARIES", ("onnx", "no_such_library"))
    assert main(["export", "all"]) == 2
    assert 'needs no_such_library: pip install "fmnist-bench[onnx]"' in capsys.readouterr().err


SCRIPT = """
import importlib.util, json, sys
import numpy as np, onnxruntime
assert importlib.util.find_spec("sklearn") is None and importlib.util.find_spec("fmnist_bench") is None
file = onnxruntime.InferenceSession("ensemble.onnx")
names = json.loads(file.get_modelmeta().custom_metadata_map["class_names"])
probabilities, labels = file.run(None, {"X": np.load("images.npy")})
print(json.dumps([names, labels.tolist(), probabilities.tolist()]))
"""


@pytest.mark.slow
def test_the_file_labels_images_where_there_is_onnxruntime_alone(exported, digits, tmp_path):
    folder, _, _ = exported
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"], check=True)
    images = digits.X[:50].reshape(-1, 8, 8)
    np.save(folder / "images.npy", images)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONNOUSERSITE": "1"}
    done = subprocess.run([python, "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names, labels, probabilities = json.loads(done.stdout)
    ensemble = load_ensemble(folder / "ensemble")
    assert names == ensemble.class_names_ and labels == ensemble.predict(images).tolist()
    np.testing.assert_allclose(probabilities, ensemble.predict_proba(images), atol=1e-4)
