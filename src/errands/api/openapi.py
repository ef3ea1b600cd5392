"""The OpenAPI 3.1 document, made from the endpoints and the types of what they take and answer."""

import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec

from errands.api.endpoint import Access, Endpoint
from errands.api.problems import MEDIA_TYPE, TITLES, Problem

REF = "#/components/schemas/{name}"
SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.PUBLIC: [],
    Access.EVENT_KEY: [],
    Access.TOKEN: [{"token": []}],
    Access.JOB: [{"token": []}, {"jobToken": []}],
}
SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's API token. `errands dev` needs none.",
    },
    "jobToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "From `POST /api/jobs/{id}/token`: lets a browser follow that job.",
    },
}
PATH_PARAMETERS = {
    "app": "The app's id.",
    "id": "Its id.",
    "key": "An event key of the server. `errands dev` takes any.",
}
_NAMES = re.compile(r"{(\w+)}")


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    kinds = dict.fromkeys(_kinds(endpoints))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, schema_of)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "errands",
            "version": importlib.metadata.version("errands"),
            "description": "Durable background jobs: send events, follow runs and jobs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SCHEMES},
    }


def _kinds(endpoints: Sequence[Endpoint]) -> list[Any]:
    """Each type whose schema is asked for."""
    found: list[Any] = [Problem]
    for endpoint in endpoints:
        found += [kind for kind in (endpoint.body, *_parameters(endpoint).values()) if kind]
        found += [one.body for one in endpoint.answers.values() if one.body is not None]
    return found


def _parameters(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.query is None:
        return {}
    return get_type_hints(endpoint.query, include_extras=True)


def _operation(endpoint: Endpoint, schema_of: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "tags": [_noun(endpoint.path)],
        "security": SECURITY[endpoint.access],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint, schema_of)],
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.is_body_optional,
            "content": {"application/json": {"schema": schema_of[endpoint.body]}},
        }
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    """Such as "post_api_runs_id_cancel": stable, and unique."""
    return re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path}").strip("_")


def _noun(path: str) -> str:
    first, *rest = path.strip("/").split("/")
    return rest[0] if first == "api" else "events" if first == "e" else "health"


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in _NAMES.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint, schema_of: dict[Any, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    kinds = _parameters(endpoint)
    found: list[dict[str, Any]] = []
    for field in msgspec.structs.fields(endpoint.query):
        schema = dict(schema_of[kinds[field.name]])
        parameter = {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": schema,
        }
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        if field.default not in (msgspec.NODEFAULT, None):
            schema["default"] = field.default
        found.append(parameter)
    return found


def _responses(endpoint: Endpoint, schema_of: dict[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, given in endpoint.answers.items():
        content: dict[str, Any] = {}
        if given.media_type:
            # Of what is no JSON there is nothing that a schema could say.
            schema = {} if given.body is None else {"schema": schema_of[given.body]}
            content[given.media_type] = schema
        responses[str(status)] = {"description": given.what, "content": content}
    for status in sorted(_problems(endpoint)):
        response = responses.setdefault(str(status), {"description": TITLES[status], "content": {}})
        response["content"][MEDIA_TYPE] = {"schema": schema_of[Problem]}
    if "503" in responses:
        retry = {"description": "Seconds.", "schema": {"type": "integer"}}
        responses["503"]["headers"] = {"Retry-After": retry}
    return responses


def _problems(endpoint: Endpoint) -> set[int]:
    """Statuses of the problem documents that it may answer."""
    found = {*endpoint.problems, 500}
    if endpoint.access is not Access.PUBLIC:
        found |= {401, 503}
    if endpoint.method != "GET":
        found.add(403)
    if "{" in endpoint.path:
        found.add(404)
    if endpoint.query is not None:
        found.add(422)
    if endpoint.body is not None:
        found |= {400, 413, 422}
    return found
