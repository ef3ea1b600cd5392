"""Functions that apps have registered."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from errands.api import describe, schemas
from errands.api.endpoint import Answer, Ask, Endpoint, json
from errands.model.function import EXTERNAL


class FunctionQuery(msgspec.Struct, forbid_unknown_fields=True):
    app: Annotated[str | None, Meta(description="Only of this app.")] = None


async def list_functions(ask: Ask) -> Response:
    app: str | None = ask.query.app
    found = [
        describe.function(one)
        for one in ask.process.store.reader.config().functions.values()
        if one.id != EXTERNAL and app in (None, one.app)
    ]
    return json(schemas.FunctionList(functions=sorted(found, key=lambda one: one.id)))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/api/functions",
        list_functions,
        "Functions that apps have registered.",
        {200: Answer("All of them, by id.", schemas.FunctionList)},
        query=FunctionQuery,
    ),
)
