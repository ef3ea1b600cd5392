"""Whatever is sent: an answer that the document names, and never a bug."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errands.api.app import ENDPOINTS, document
from errands.api.endpoint import decode_body
from errands.api.problems import Refusal

PATHS = document()["paths"]
ENDS = [one for one in ENDPOINTS if one.has_head]
"""All that answer and are done."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    "name data id ts user v items type key app function functions slug kind triggers event "
    "condition retries count delay_ms delayMs at tags status progress message result error reason "
    "keep ttl trace".split()
)
ODD = st.sampled_from([
    -1, 0, 2**31, 2**63, 2**64, 10**30, 1.5, 1e308, "", "\0", "\ud7ff", "*", "errands/x", "event",
    "job", "1h", "-1h", "9" * 400, "x" * 3_000, [], {}, [{}], "completed",
])  # fmt: skip
OBJECTS = st.dictionaries(NAMES, ODD | VALUES, max_size=6)
BODIES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    OBJECTS.map(lambda value: json.dumps(value).encode()),
    st.lists(OBJECTS, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.lists(OBJECTS, max_size=3).map(lambda value: json.dumps({"items": value}).encode()),
    st.lists(OBJECTS, max_size=3).map(
        lambda value: json.dumps({"name": "x", "functions": value}).encode()
    ),
)
IDS = st.text(min_size=1, max_size=20) | st.sampled_from(["x", "known", ".", "..", "%", "a/b"])
# Other characters the server itself refuses, before the API sees them.
HEADERS = st.lists(st.sampled_from([*range(33, 127), *range(128, 256)]), max_size=20).map(bytes)
QUERIES = st.dictionaries(
    st.sampled_from("limit cursor status function tag name after app seen final token".split())
    | st.text(max_size=5),
    ODD.map(str) | st.text(max_size=10),
    max_size=3,
)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, trust_env=False, timeout=20) as client:
        client.post("/api/jobs", json={"id": "known"})
        yield client


@given(
    endpoint=st.sampled_from(ENDS),
    id=IDS,
    query=QUERIES,
    body=BODIES,
    headers=st.dictionaries(
        st.sampled_from(["traceparent", "content-type", "authorization", "origin", "accept"]),
        HEADERS,
        max_size=2,
    ),
)
@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_request_is_answered_by_a_bug(
    client: httpx2.Client,
    endpoint: Any,
    id: str,
    query: dict[str, str],
    body: bytes,
    headers: dict[str, bytes],
) -> None:
    path = endpoint.path
    for name in ("id", "key", "app"):
        path = path.replace(f"{{{name}}}", "".join(f"%{byte:02X}" for byte in id.encode()))
    content = None if endpoint.method == "GET" else body
    answer = client.request(
        endpoint.method,
        path,
        params=query,
        content=content,
        headers={name.encode(): value for name, value in headers.items()},
    )
    told = PATHS[endpoint.path][endpoint.method.lower()]["responses"]
    assert str(answer.status_code) in told, answer.text
    assert answer.status_code < 500, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in told[str(answer.status_code)]["content"], answer.text
    if kind == "application/problem+json":
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]
        assert "Traceback" not in answer.text


@given(bodies=st.lists(BODIES, min_size=1, max_size=5))
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_an_event_is_taken_or_refused_with_a_reason(
    client: httpx2.Client, bodies: list[bytes]
) -> None:
    for body in bodies:
        answer = client.post("/e/any", content=body)
        assert answer.status_code in (200, 400, 413, 422), answer.text
        if answer.status_code == 200:
            given = json.loads(body)
            count = len(given) if isinstance(given, list) else 1
            assert len(answer.json()["ids"]) == count
        else:
            assert answer.json()["code"] in (
                "invalid_json", "invalid_value", "event_refused", "too_deep"
            )  # fmt: skip


def test_a_string_that_never_ends_is_looked_at_once() -> None:
    """Looking again from each quote would take minutes, and the server stands still meanwhile."""
    body = b'{"name":"a","data":' + b"[" * 101 + b'"' + b'\\"' * 60_000
    begun = time.process_time()
    with pytest.raises(Refusal):
        decode_body(body, msgspec.json.Decoder())
    assert time.process_time() - begun < 2
