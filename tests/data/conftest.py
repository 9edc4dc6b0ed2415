import pytest


@pytest.fixture(autouse=True)
def examples(tmp_path_factory, monkeypatch):
    """Keep pictures of examples out of the user's own cache; return the folder they go to."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("fmnist_bench.data.describe.own_cache", lambda: folder)
    return folder / "examples"
