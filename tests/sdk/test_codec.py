import dataclasses
import datetime as dt
import decimal
import enum
import functools
import gc
import uuid
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path, PurePosixPath
from typing import Any, Generic, NamedTuple, NoReturn, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field

from errands import JSON
from errands.model.errors import ValueNotStorable, ValueTooLarge
from errands.sdk.codec import codec, codec_of_result, returns_of, store

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class User:
    id: int
    since: dt.datetime
    colour: Colour = Colour.RED


class Row(msgspec.Struct, Generic[T]):
    items: list[T]


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


class Model(BaseModel):
    price: decimal.Decimal
    tags: set[str] = set()


class Strict(BaseModel):
    model_config = {"extra": "forbid", "strict": True}
    at: dt.datetime = Field(alias="happenedAt")

    @computed_field
    @property
    def year(self) -> int:
        return self.at.year


class Point(NamedTuple):
    x: int
    y: int


class Typed(TypedDict):
    a: int


class Box(msgspec.Struct):
    model: Model
    strict: Strict | None = None


NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ADA = User(1, NOW)
MODEL = Model(price=decimal.Decimal("1.10"), tags={"a"})


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (None, None),
        (bool, True),
        (int, 3),
        (int, -(2**70)),
        (float, 2.5),
        (str, "a\u2028\U0001f600"),
        (str | None, None),
        (User, ADA),
        (list[User], [ADA]),
        (User | None, ADA),
        (dict[int, User], {3: ADA}),
        (Row[User], Row([ADA])),
        (Page[User], Page([ADA])),
        (Model, MODEL),
        (list[Model], [MODEL]),
        (Model | None, None),
        (Model | None, MODEL),
        (Box, Box(MODEL)),
        (Box, Box(MODEL, Strict(happenedAt=NOW))),
        (Strict, Strict(happenedAt=NOW)),
        (Model | Page[int], Page([1])),
        (object, {"a": 1}),
        (Path, Path("/tmp/x")),
        (list[PurePosixPath], [PurePosixPath("x/y")]),
        (Point, Point(1, 2)),
        (Typed, {"a": 1}),
        (tuple[int, str], (1, "a")),
        (set[str], {"a"}),
        (frozenset[int], frozenset({1})),
        (bytes, b"\x00\xff"),
        (decimal.Decimal, decimal.Decimal("0.10")),
        (dt.date, dt.date(2026, 1, 1)),
        (dt.timedelta, dt.timedelta(days=3)),
        (uuid.UUID, uuid.UUID(int=7)),
        (Colour, Colour.RED),
        (bytes | None, b"x"),
        (dict[str, Any], {"a": [1, None, {"b": 2.5}]}),
        (Any, {"a": [1, None]}),
    ],
)
def test_a_value_is_read_back_as_its_annotation(hint: Any, value: object) -> None:
    data, back = store(hint, value, "it")

    assert back == value
    assert type(back) is type(value)
    assert codec(hint).decode(data) == back  # what a replay gets


def test_an_int_annotated_as_float_is_read_back_as_float() -> None:
    assert type(store(float, 2, "it")[1]) is float


def test_what_the_caller_gets_is_a_copy() -> None:
    given_value = {"rows": [1]}

    _, back = store(dict[str, list[int]], given_value, "it")
    given_value["rows"].append(2)

    assert back == {"rows": [1]}


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, "x"),
        (int, True),
        (str, "\ud800"),
        (User | Page[int], ADA),  # JSON cannot tell these two apart
        (Model, Page([1])),
        (float, float("nan")),
        (list[int], iter([1])),
        (Any, object),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_named(hint: Any, value: object) -> None:
    with pytest.raises(ValueNotStorable, match="The result of step 'get-user'"):
        store(hint, value, "the result of step 'get-user'")


@pytest.mark.parametrize(
    "value",
    [ADA, MODEL, (1, 2), {1: 2}, {1, 2}, NOW, decimal.Decimal(1), Colour.RED, b"x", float("nan")],
)
@pytest.mark.parametrize("hint", [Any, dict[str, Any], list[Any], JSON])
def test_where_nothing_says_the_type_only_json_passes(hint: Any, value: Any) -> None:
    nested = {"x": value} if hint == dict[str, Any] else [value] if hint == list[Any] else value

    with pytest.raises(ValueNotStorable, match="returns="):
        store(hint, nested, "the result of step 'x'")


def test_the_part_that_is_not_json_is_named() -> None:
    with pytest.raises(ValueNotStorable, match="It holds a Point, but"):
        store(Any, {"a": [1, {"b": Point(1, 2)}]}, "it")


def test_a_cycle_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)

    with pytest.raises(ValueNotStorable):
        store(Any, ring, "it")


def test_the_limit_is_on_the_bytes_of_the_json() -> None:
    store(str, "x" * 98, "it", 100)

    with pytest.raises(ValueTooLarge, match=r"It is 101 bytes as JSON; the limit is 100\."):
        store(str, "x" * 99, "it", 100)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_every_json_value_passes_without_annotation(value: Any) -> None:
    data, back = store(Any, value, "it")

    assert back == value
    assert type(back) is type(value)
    assert codec(Any).decode(data) == value


# -- which annotation
# --------------------------------------------------------------------------------


async def page(n: int) -> Page[User]:
    return Page([])


def awaitable(n: int) -> Coroutine[Any, Any, User]:
    raise NotImplementedError


def awaitable_too() -> Awaitable[int]:
    raise NotImplementedError


def first(items: list[T]) -> T:
    return items[0]


def nothing() -> None: ...


def never() -> NoReturn:
    raise NotImplementedError


def takes_what_only_checkers_know(connection: "Connection") -> User:  # noqa: F821  # pyright: ignore
    return ADA


def untyped(): ...


class Callable_:
    def __call__(self) -> User:
        return ADA

    def method(self) -> Point:
        return Point(1, 2)


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (page, Page[User]),
        (functools.partial(page, 1), Page[User]),
        (awaitable, User),
        (awaitable_too, int),
        (nothing, type(None)),
        (never, Any),
        (takes_what_only_checkers_know, User),
        (User, User),
        (Callable_(), User),
        (Callable_().method, Point),
        (first, Any),
        (untyped, Any),
        (lambda: 3, Any),
        (sorted, Any),
    ],
)
def test_the_annotation_of_what_a_call_gives(function: Callable[..., object], hint: Any) -> None:
    assert returns_of(function) == hint


def test_a_closure_has_its_own_annotation() -> None:
    def made(kind: Any) -> Callable[[], object]:
        def closure() -> Any:
            return kind

        closure.__annotations__["return"] = kind
        return closure

    assert codec_of_result(made(int)).hint is int
    assert codec_of_result(made(str)).hint is str


def test_a_closure_is_not_kept_alive() -> None:
    def made(held: object) -> Callable[[], int]:
        def closure() -> int:
            return id(held)

        return closure

    class Held: ...

    held = Held()
    codec_of_result(made(held))
    gone = weakref.ref(held)
    del held
    gc.collect()

    assert gone() is None


def test_an_annotation_that_cannot_be_found_is_named() -> None:
    def broken() -> "Missing":  # type: ignore[name-defined]  # pyright: ignore  # noqa: F821
        ...

    with pytest.raises(ValueNotStorable, match=r"broken cannot be read: name 'Missing'"):
        codec_of_result(broken)


def test_an_annotation_that_cannot_be_told_apart_is_named() -> None:
    def broken() -> User | Page[int]:
        return ADA

    with pytest.raises(ValueNotStorable, match=r"broken returns .*User.*Page"):
        codec_of_result(broken)
