"""Folders to run a benchmark in."""

import shutil


def furnish(folder, database, files):
    """Make a folder to run a benchmark in: its files, and a copy of an empty database of MLflow."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "mlruns").mkdir()
    shutil.copy(database, folder / "mlruns")
    return folder
