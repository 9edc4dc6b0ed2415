"""What others may have done to a file, and what is made of it."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_bench._utils.intact import fits, parsed
from fmnist_bench.storage.results import TrialResult
from fmnist_bench.storage.trial import Trial

RECORD = Trial("study", 3, {"C": 1.5}, "", TrialResult("complete", accuracy=1.0, log_loss=0.1), 2.5, 9.0)
CONTENT = json.loads(json.dumps(asdict(RECORD)))
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
)


def test_what_was_written_comes_back():
    assert parsed(Trial, CONTENT) == RECORD


@given(ANYTHING)
def test_anything_else_is_refused_as_a_value(content):
    with pytest.raises(ValueError, match="Trial|argument"):
        parsed(Trial, content)


@given(st.sampled_from(sorted(CONTENT)), ANYTHING)
def test_a_field_has_its_type_or_is_refused(name, value):
    try:
        record = parsed(Trial, {**CONTENT, name: value})
    except ValueError:
        return
    assert isinstance(getattr(record, name), type(getattr(RECORD, name)) | int)


@given(st.sampled_from(sorted(CONTENT["result"])), ANYTHING)
def test_so_has_a_field_within(name, value):
    try:
        record = parsed(Trial, {**CONTENT, "result": {**CONTENT["result"], name: value}})
    except ValueError:
        return
    assert fits(type(getattr(RECORD.result, name)) | int | float | None, getattr(record.result, name))
