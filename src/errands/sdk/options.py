"""Triggers and options.

A condition is a CEL string, or a lambda over the event that is translated to CEL.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

from errands.model.duration import Duration, parse_duration
from errands.model.errors import InvalidConfig
from errands.model.function import CancelOn, RetryPolicy
from errands.model.function import Trigger as TriggerConfig
from errands.sdk.event import NAME_LENGTH_MAX, AnyEvent, EventLike, form_of, is_event_class
from errands.sdk.expression import to_condition
from errands.sdk.middleware import Middleware

if TYPE_CHECKING:
    JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
else:
    JSON = Any  # as an annotation at run time it means: JSON values only, like no annotation

EventT = TypeVar("EventT", bound=EventLike)
E_co = TypeVar("E_co", covariant=True)

RETRIES_MAX = 1_000


class Trigger(Generic[E_co]):
    """An event, with a condition: `Trigger(SignedUp, if_exp=lambda e: e.plan == "pro")`."""

    @overload
    def __init__(
        self: "Trigger[EventT]",
        event: type[EventT],
        *,
        if_exp: str | Callable[[EventT], bool] | None = None,
    ) -> None: ...
    @overload
    def __init__(self: "Trigger[AnyEvent]", event: str, *, if_exp: str | None = None) -> None: ...
    def __init__(self, event: Any, *, if_exp: Any = None) -> None:
        self.event: type[EventLike] = AnyEvent if isinstance(event, str) else event
        """The class that the function is handed."""
        self.config = TriggerConfig(
            event_pattern(event, "Trigger"), _condition(event, if_exp, "event")
        )

    def __repr__(self) -> str:
        return f"Trigger({self.config.event!r})"


class Cancel:
    """Cancel the run when this event comes: `Cancel(OrderCancelled, match="data.order_id")`.

    match: a path that is equal in the run's own event and in this one.
    if_exp: CEL over `event` (the run's own) and `async` (this one).
    timeout: how long after the run's creation it listens; default: always.
    """

    def __init__(
        self,
        event: type[EventLike] | str,
        *,
        match: str | None = None,
        if_exp: str | None = None,
        timeout: Duration | None = None,
    ) -> None:
        self.event: type[EventLike] = AnyEvent if isinstance(event, str) else event
        self.config = CancelOn(
            event_pattern(event, "Cancel"),
            None if match is None else check_match(match, "Cancel: match"),
            _condition(event, if_exp, "async"),
            None if timeout is None else parse_duration(timeout, "Cancel: timeout"),
        )


class Timeouts:
    """`start`: longest wait before the first step; `finish`: longest time from start to end.

    Past it the run is cancelled.
    """

    def __init__(self, *, start: Duration | None = None, finish: Duration | None = None) -> None:
        self.start_ms = None if start is None else _above_zero(start, "Timeouts: start")
        self.finish_ms = None if finish is None else _above_zero(finish, "Timeouts: finish")


class Retries:
    """How often and when to try again. `Retries(5)` is what `retries=5` means: standard back-off.

    delay: before the first of them; `factor` times as long before each further one, up to
    `delay_max`. Or a function of the attempt that failed (from 0) and its error.
    jitter: add up to 30 s by chance.   give_up_on: errors that are final.
    """

    def __init__(
        self,
        count: int,
        *,
        delay: Duration | Callable[[int, BaseException], Duration] | None = None,
        factor: float = 2.0,
        delay_max: Duration | None = None,
        jitter: bool = True,
        give_up_on: tuple[type[BaseException], ...] = (),
    ) -> None:
        if type(count) is not int or not 0 <= count <= RETRIES_MAX:
            raise InvalidConfig(
                f"retries: {count!r} is refused.",
                hint=f"It must be an int from 0 to {RETRIES_MAX}.",
            )
        if not _is_factor(factor):
            raise InvalidConfig(
                f"Retries: factor {factor!r} is refused.", hint="It must be from 1 to 1000."
            )
        if not _are_errors(give_up_on):
            raise InvalidConfig(
                f"Retries: give_up_on {give_up_on!r} is refused.",
                hint="It must be a tuple of exception classes.",
            )
        self.give_up_on = give_up_on
        self._delay = delay if callable(delay) else None
        self.policy = RetryPolicy(
            count=count,
            delay_ms=None
            if delay is None or callable(delay)
            else parse_duration(delay, "Retries: delay"),
            factor=float(factor),
            delay_ms_max=None
            if delay_max is None
            else parse_duration(delay_max, "Retries: delay_max"),
            jitter=jitter,
        )

    @property
    def is_plain(self) -> bool:
        """Whether `policy` says it all, so that it can be stored and used without this code."""
        return self._delay is None and not self.give_up_on

    def gives_up_on(self, error: BaseException) -> bool:
        return isinstance(error, self.give_up_on)

    def delay_ms(self, attempt: int, error: BaseException) -> int | None:
        """What the user's own function says about the attempt (from 0) that failed; None.

        There is none.
        """
        if self._delay is None:
            return None
        return parse_duration(self._delay(attempt, error), "Retries: what delay() gave")


def retries_of(value: "int | Retries | None") -> Retries:
    """None: the default."""
    if value is None:
        return Retries(RetryPolicy().count)
    return value if isinstance(value, Retries) else Retries(value)


class FunctionOptions(TypedDict, total=False):
    """What `@app.function` (beside `on`) and `@app.job` take."""

    id: str
    """Default: the Python function's name."""
    name: str
    """For people. Default: the id."""
    retries: int | Retries
    """Attempts after the first, of the run and of each step. Default 3."""
    cancel: Cancel | tuple[Cancel, ...]
    """Events that cancel a run."""
    timeouts: Timeouts
    durability: Literal["step", "run"]
    """step (default): each step's result is durable before the code goes on. run: only at waits and
    at the end, which is faster; after a crash the steps since then execute again."""
    middleware: Sequence[Middleware]
    """Around this one only, inside the app's."""


class EnqueueOptions(TypedDict, total=False):
    """What `job.with_options(…)` takes: about one enqueueing, not about the job."""

    delay: Duration
    at: datetime
    idempotency_key: str
    """The same key within 24 h gives the first job again."""
    retries: int | Retries
    timeouts: Timeouts
    tags: dict[str, str]
    """To find runs by."""


def event_pattern(event: object, what: str) -> str:
    """The event name, or pattern, that a class or a string stands for."""
    if isinstance(event, str):
        if (
            not event
            or len(event) > NAME_LENGTH_MAX
            or not event.isprintable()
            or "*" in event[:-1]
        ):
            raise InvalidConfig(
                f"{what}: {event!r} is no event name or pattern.",
                hint='For example "user/signed.up", or "user/*": a star stands at the end.',
            )
        return event
    if not is_event_class(event):
        raise InvalidConfig(
            f"{what}: {event!r} is no event.",
            hint='Pass an event class, or a name like "user/signed.up" or "user/*".',
        )
    assert isinstance(event, type)
    name = form_of(event).name
    if not name or name == "*":
        raise InvalidConfig(
            f"{what}: class {event.__name__} has no event name.",
            hint=f'Give it one: class {event.__name__}(…, name="…"), or use a pattern like '
            '"user/*".',
        )
    return name


def check_match(match: object, what: str) -> str:
    """A path like "data.order_id"."""
    if not isinstance(match, str) or not all(part.isidentifier() for part in match.split(".")):
        raise InvalidConfig(
            f"{what}: {match!r} is no path.",
            hint='Write names with dots, from the event on: "data.order_id".',
        )
    return match


def _condition(event: Any, condition: Any, root: str) -> str | None:
    if condition is None:
        return None
    return to_condition(condition, root, None if isinstance(event, str) else event)


def _above_zero(value: Duration, what: str) -> int:
    milliseconds = parse_duration(value, what)
    if milliseconds == 0:
        raise InvalidConfig(
            f"{what}: it must be longer than nothing.", hint="Leave it out for no limit."
        )
    return milliseconds


def _is_factor(value: object) -> bool:
    return isinstance(value, int | float) and 1 <= value <= 1_000


def _are_errors(value: object) -> bool:
    classes = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (None,)
    return all(isinstance(one, type) and issubclass(one, BaseException) for one in classes)
