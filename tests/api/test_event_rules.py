"""One rule for events, whoever sends them: the API and the SDK refuse the same."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from errands.model.errors import EventRefused
from errands.model.event_rules import is_key, why_not_name
from errands.sdk.event import new_event

texts = st.text(max_size=300) | st.sampled_from(["", "*", "a*", "errands/x", "x" * 256, "x" * 257])


def takes(event: Any) -> bool:
    try:
        new_event(event, {})
    except EventRefused:
        return False
    return True


@given(name=texts)
def test_names(name: str) -> None:
    assert takes({"name": name}) == (why_not_name(name) is None)


@given(key=texts)
def test_ids(key: str) -> None:
    assert takes({"name": "a", "id": key}) == is_key(key)
