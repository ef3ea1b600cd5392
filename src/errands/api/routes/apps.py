"""For errands' own client: an App that reaches errands over HTTP registers and sends here."""

import msgspec
from starlette.responses import Response

from errands.api import schemas
from errands.api.endpoint import Answer, Ask, Endpoint, json
from errands.api.problems import refuse_value
from errands.api.routes.events import new_event
from errands.api.schemas import ClientJob
from errands.engine.input import Registered
from errands.model.cel import compile_cel
from errands.model.duration import DURATION_MS_MAX
from errands.model.errors import ValueTooLarge
from errands.model.event_rules import KEY_HINT, NAME_LENGTH_MAX, is_key
from errands.model.function import AppConfig, FunctionConfig, FunctionKind, RetryPolicy
from errands.model.job import NewJob

SEND_BYTES_MAX = 64 * 1024 * 1024
"""One call of an app is one request: it is accepted as a whole."""
RETRIES_MAX = 1_000
_encode = msgspec.json.Encoder().encode


# -- sending ---------------------------------------------------------------------------------------


async def send(ask: Ask) -> Response:
    limit, given = ask.settings.value_bytes, ask.body.items
    items = [
        _new_job(one, limit, ask.trace, f"/items/{k}")
        if isinstance(one, ClientJob)
        else new_event(one, one.key, limit, one.trace or ask.trace, f"/items/{k}")
        for k, one in enumerate(given)
    ]
    ids = await ask.process.send(items) if items else []
    return json(schemas.SendAnswer(ids=ids))


def _new_job(job: ClientJob, limit: int, trace: str | None, at: str) -> NewJob:
    """Raises Refusal, ValueTooLarge."""
    if job.key is not None and not is_key(job.key):
        raise refuse_value(f"{at}/key", "this idempotency key is not allowed", hint=KEY_HINT)
    if job.delay_ms is not None and job.at is not None:
        raise refuse_value(f"{at}/at", "a job has a delay, or a time at which it starts")
    for n, tag in enumerate(job.tags):
        name, is_there, _ = tag.partition("=")
        if not (name and is_there and tag.isprintable() and len(tag) <= 2 * NAME_LENGTH_MAX + 1):
            raise refuse_value(f"{at}/tags/{n}", "a tag is printable text, key=value")
    if job.retries is not None:
        _check_retries(job.retries, f"{at}/retries")
    data = _encode(job.data)
    if len(data) > limit:
        raise ValueTooLarge(f"the arguments of job {job.function!r}", len(data), limit)
    return NewJob(
        job.app,
        job.function,
        data,
        key=job.key,
        delay_ms=job.delay_ms,
        at=job.at,
        retries=None if job.retries is None else _encode(job.retries),
        start_timeout_ms=job.start_timeout_ms,
        finish_timeout_ms=job.finish_timeout_ms,
        tags=tuple(job.tags),
        trace=job.trace or trace,
    )


# -- registering -----------------------------------------------------------------------------------


async def register(ask: Ask) -> Response:
    app: AppConfig = ask.body
    if app.name != ask.path("app"):
        raise refuse_value("/name", f"the app is {app.name!r} here, and another one in the path")
    _check_name(app.name, "/name")
    slugs = [function.slug for function in app.functions]
    for n, function in enumerate(app.functions):
        if function.slug in slugs[:n]:
            raise refuse_value(f"/functions/{n}/slug", f"{function.slug!r} is there twice")
        _check(function, frozenset(slugs), f"/functions/{n}")
    await ask.process.committer.submit(Registered(app, is_complete=False), is_door=True)
    return json(schemas.Registered(functions=len(slugs)))


def _check(function: FunctionConfig, slugs: frozenset[str], at: str) -> None:
    """What the SDK has checked where the app was made. Raises Refusal."""
    _check_name(function.slug, f"{at}/slug")
    _check_name(function.name, f"{at}/name")
    if function.kind is FunctionKind.EXTERNAL:
        raise refuse_value(f"{at}/kind", "no app has a function of this kind")
    for n, trigger in enumerate(function.triggers):
        _check_name(trigger.event, f"{at}/triggers/{n}/event")
        _check_cel(trigger.condition, f"{at}/triggers/{n}/condition")
    for n, cancel in enumerate(function.cancel):
        _check_name(cancel.event, f"{at}/cancel/{n}/event")
        _check_cel(cancel.condition, f"{at}/cancel/{n}/condition")
        _check_ms(cancel.timeout_ms, f"{at}/cancel/{n}/timeout_ms")
        if cancel.match is not None:
            _check_name(cancel.match, f"{at}/cancel/{n}/match")
    _check_ms(function.start_timeout_ms, f"{at}/start_timeout_ms")
    _check_ms(function.finish_timeout_ms, f"{at}/finish_timeout_ms")
    _check_retries(function.retries, f"{at}/retries")
    for n, slug in enumerate(function.on_failure):
        if slug not in slugs:
            raise refuse_value(f"{at}/on_failure/{n}", f"there is no function {slug[:40]!r}")


def _check_name(text: str, at: str) -> None:
    if not is_key(text):
        raise refuse_value(at, f"it is 1 to {NAME_LENGTH_MAX} printable characters")


def _check_cel(expression: str | None, at: str) -> None:
    if expression is None:
        return
    try:
        compile_cel(expression)
    except (ValueError, RecursionError) as error:
        raise refuse_value(at, f"this is no CEL: {error}") from None


def _check_ms(value: int | None, at: str) -> None:
    if value is not None and not 0 <= value <= DURATION_MS_MAX:
        raise refuse_value(at, "it is milliseconds, at most 100 years")


def _check_retries(policy: RetryPolicy, at: str) -> None:
    if not 0 <= policy.count <= RETRIES_MAX:
        raise refuse_value(f"{at}/count", f"it is 0 to {RETRIES_MAX}")
    _check_ms(policy.delay_ms, f"{at}/delay_ms")
    _check_ms(policy.delay_ms_max, f"{at}/delay_ms_max")
    if not 1 <= policy.factor <= 1_000:
        raise refuse_value(f"{at}/factor", "it is 1 to 1000")


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "PUT",
        "/api/apps/{app}",
        register,
        "For errands' own client: what functions an app has. Those it does not name stay.",
        {200: Answer("All know them now.", schemas.Registered)},
        body=AppConfig,
    ),
    Endpoint(
        "POST",
        "/api/send",
        send,
        "For errands' own client: events and jobs, all of them or none.",
        {200: Answer("Durable.", schemas.SendAnswer)},
        body=schemas.Send,
        body_limit=SEND_BYTES_MAX,
        problems=(404,),
    ),
)
