"""Addresses of stores, as they are written and as they are shown."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from fmnist_bench._utils.addresses import database_uri, local_path, scrub, without_secrets


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("http://host:5000", "http://host:5000"),
        ("http://me:secret@host:5000/", "http://host:5000"),
        ("http://TOKEN@host", "http://host"),
        ("https://host/mlflow?token=secret", "https://host/mlflow"),
        ("http://user:pw/x@host", "http://host"),
        ("http://user:p?w#x@host:80/a", "http://host:80/a"),
        ("http://user:p@w@host", "http://host"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("https://host:5000/a@b", "https://host:5000/a@b"),
        ("postgresql://me@db/mlflow?sslmode=require", "postgresql://me@db/mlflow?sslmode=require"),
        ("postgresql://me:se/cret@db/mlflow", "postgresql://me@db/mlflow"),
        ("postgresql://db/mlflow?password=secret&sslmode=require", "postgresql://db/mlflow?sslmode=require"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret", "mssql+pyodbc:///"),
        ("sqlite:////a/mlflow.db", "sqlite:////a/mlflow.db"),
        ("sqlite:////a@b:c@d/mlflow.db?timeout=5", "sqlite:////a@b:c@d/mlflow.db?timeout=5"),
        ("databricks", "databricks"),
        ("--tracking-uri=http://TOKEN@host", "--tracking-uri=http://host"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(uri, kept):
    assert without_secrets(uri) == kept


def test_what_others_say_of_an_address_tells_no_secret():
    said = "Max retries exceeded with url: /?token=to%20k of http://me:p/w@host?token=to%20k (p/w, to k)"
    assert scrub(said, "http://me:p/w@host?token=to%20k") == (
        "Max retries exceeded with url: /?token=*** of http://host (***, ***)"
    )
    assert scrub("no password here", "") == "no password here"


@given(st.text(string.ascii_letters + "/?#:%&=", min_size=1).map(lambda text: f"x{text}SECRET"))
def test_no_password_is_shown_whatever_it_holds(password):
    for scheme in ("http", "postgresql"):
        address = f"{scheme}://me:{password}@host/place"
        assert "SECRET" not in without_secrets(address)
        assert "SECRET" not in scrub(f"cannot reach {address}: {password}", address)


@given(st.text("aé%?&+#;: 253F", min_size=1).map(lambda name: Path("/folder") / name / "mlflow.db"))
def test_any_path_is_read_back(path):
    assert Path(make_url(database_uri(path)).database) == path
    assert local_path(path.as_uri()) == path
