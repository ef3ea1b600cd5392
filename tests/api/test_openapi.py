"""The document is valid, tells of all that there is, and the API answers as it says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs

from errands.api.app import ENDPOINTS, document
from errands.api.problems import TITLES

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,"
    "allow_header_conformance"
)
FOLLOWED = "/(events|stream)$"
"""Streams of jobs that have not ended do not end: tests of their own follow them."""
CONFIG = """
[parameters]
"query.wait" = 0.01
"""


async def test_the_document_is_served(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/api/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(document()))


def test_each_endpoint_is_told_once() -> None:
    paths = document()["paths"]
    told = {(method.upper(), path) for path, of in paths.items() for method in of}
    assert told == {(one.method, one.path) for one in ENDPOINTS}
    assert len(ENDPOINTS) == len(told)
    ids = [one["operationId"] for of in paths.values() for one in of.values()]
    assert len(set(ids)) == len(ids)


def test_each_reference_and_schema_is_good() -> None:
    told = document()
    references = _values(told, "$ref")
    schemas = told["components"]["schemas"]
    assert {one.rpartition("/")[2] for one in references} <= set(schemas)
    for name, schema in schemas.items():
        whole = {"components": told["components"], **schema}
        assert jsonschema_rs.meta.is_valid(whole), name


def test_each_operation_says_who_may_and_what_can_go_wrong() -> None:
    for path, of in document()["paths"].items():
        for method, operation in of.items():
            where = f"{method} {path}"
            assert operation["summary"].endswith("."), where
            assert "500" in operation["responses"], where
            is_public = path in ("/health", "/ready", "/metrics", "/api/openapi.json")
            assert is_public or "401" in operation["responses"], where
            has_key = is_public or path == "/e/{key}"
            assert bool(operation["security"]) is not has_key, where
            assert "requestBody" not in operation or "422" in operation["responses"], where
            assert {int(s) for s in operation["responses"] if s >= "400"} <= set(TITLES), where


def _values(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return [found for one in value for found in _values(one, name)]
    if not isinstance(value, dict):
        return []
    own = [value[name]] if name in value else []
    return own + [found for one in value.values() for found in _values(one, name)]


def test_the_api_answers_as_the_document_says(url: str, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    tool = Path(sys.executable).with_name("schemathesis")
    options = [
        f"--checks={CHECKS}",
        "--phases=examples,coverage,fuzzing,stateful",
        f"--exclude-path-regex={FOLLOWED}",
        "--generation-deterministic",
        "--max-examples=10",
        "--continue-on-failure",
        "--no-color",
        "--warnings=off",
    ]
    done = subprocess.run(
        [tool, "run", f"{url}/api/openapi.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
