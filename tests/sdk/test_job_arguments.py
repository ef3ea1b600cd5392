"""A job's arguments: checked at import and at enqueue, stored by name, read back for the call."""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from errands import App, InvalidConfig
from errands.model.errors import ArgumentsRefused, ValueNotStorable, ValueTooLarge
from errands.sdk.arguments import Arguments
from errands.sdk.job import new_job


@dataclass
class User:
    id: int
    since: datetime


class Model(BaseModel):
    n: int


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(report_id: str, pages: int = 10, *, user: User | None = None) -> str:
    return f"{report_id} {pages} {user}"


def odd(a: int, /, b: int, *more: int, flag: bool, **rest: str) -> object:
    return a, b, more, flag, rest


def untyped(a, b=2):
    return a, b


def of(function: Callable[..., object]) -> Arguments:
    return Arguments(function, function.__name__)


def through_the_store(function: Callable[..., object], *args: Any, **kwargs: Any) -> object:
    arguments = of(function)
    args, kwargs = arguments.read(arguments.store(args, kwargs))
    return function(*args, **kwargs)


# -- at enqueue
# --------------------------------------------------------------------------------------


def test_arguments_are_kept_by_name_without_defaults() -> None:
    assert of(report).store(("r1",), {}) == b'{"report_id":"r1"}'
    assert of(report).store(("r1", 3), {}) == b'{"report_id":"r1","pages":3}'
    assert of(report).store((), {"pages": 3, "report_id": "r1"}) == b'{"pages":3,"report_id":"r1"}'


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "missing a required argument: 'report_id'"),
        ((), {"pages": 3}, "missing a required argument: 'report_id'"),
        (("r1",), {"page": 3}, "unexpected keyword argument 'page'"),
        (("r1",), {"report_id": "r2"}, "multiple values for argument 'report_id'"),
        (("r1", 3, None), {}, "too many positional arguments"),
        (("r1",), {"delay": "5s"}, "unexpected keyword argument 'delay'"),
    ],
)
def test_arguments_that_do_not_fit_the_signature_are_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], why: str
) -> None:
    with pytest.raises(ArgumentsRefused, match=why) as caught:
        of(report).store(args, kwargs)

    assert "report(report_id: str, pages: int = 10" in caught.value.hint


def test_positional_only_and_keyword_only_are_respected() -> None:
    def positional(a: int, /) -> None: ...

    with pytest.raises(ArgumentsRefused):
        of(positional).store((), {"a": 1})
    with pytest.raises(ArgumentsRefused, match="'flag'"):
        of(odd).store((1, 2), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "name"),
    [
        ((3,), {}, "report_id"),
        (("r1", "3"), {}, "pages"),
        (("r1",), {"user": {"id": 1}}, "user"),
        (("r1",), {"user": Model(n=1)}, "user"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str
) -> None:
    with pytest.raises(ArgumentsRefused, match=f"The argument '{name}' of job 'report'"):
        of(report).store(args, kwargs)


def test_a_refused_argument_tells_both_types_and_the_signature() -> None:
    def pay(order_id: str, cents: int = 0) -> None: ...

    with pytest.raises(ArgumentsRefused) as caught:
        of(pay).store(("o1", "many"), {})

    message = str(caught.value)
    assert "'cents' of job 'pay' is annotated int; a str does not fit" in message
    assert "pay(order_id: str, cents: int = 0)" in message


def test_what_has_no_annotation_takes_json_only() -> None:
    assert of(untyped).store(({"a": [1]},), {}) == b'{"a":{"a":[1]}}'
    with pytest.raises(ValueNotStorable, match="'a'"):
        of(untyped).store((NOW,), {})


def test_the_limit_counts_all_arguments_together() -> None:
    def two(a: str, b: str) -> None: ...

    with pytest.raises(ValueTooLarge, match="All arguments of job 'two' together"):
        of(two).store(("x" * 60, "y" * 60), {}, 100)
    with pytest.raises(ValueTooLarge, match="argument 'a'"):
        of(two).store(("x" * 200, ""), {}, 100)


# -- there and back
# ----------------------------------------------------------------------------------


def test_typed_values_come_back() -> None:
    user = User(1, NOW)

    assert through_the_store(report, "r1", user=user) == report("r1", user=user)


def test_every_kind_of_parameter_comes_back() -> None:
    assert through_the_store(odd, 1, 2, flag=True) == (1, 2, (), True, {})
    assert through_the_store(odd, 1, 2, 3, 4, flag=False, x="y") == (
        1,
        2,
        (3, 4),
        False,
        {"x": "y"},
    )


def test_pydantic_models_paths_and_lists_come_back() -> None:
    def job(path: Path, models: list[Model], one: Model | None = None) -> object:
        return path, models, one

    given_values = (Path("/tmp/x"), [Model(n=1)], Model(n=2))
    assert through_the_store(job, *given_values) == given_values


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(), st.booleans())
def test_any_values_come_back(report_id: str, pages: int, by_name: bool) -> None:
    kwargs = {"pages": pages} if by_name else {}
    args = (report_id,) if by_name else (report_id, pages)

    assert through_the_store(report, *args, **kwargs) == report(report_id, pages)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{}", "'report_id' is missing"),
        (b'{"report_id":3}', "'report_id': Expected `str`"),
        (b'{"report_id":"r","colour":1}', "no argument 'colour' any more"),
    ],
)
def test_stored_arguments_that_no_longer_fit_are_named(data: bytes, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        of(report).read(data)


# -- at import
# ---------------------------------------------------------------------------------------


def test_an_argument_that_cannot_be_stored_is_refused_at_import() -> None:
    with pytest.raises(InvalidConfig, match="'bad': its argument 'file' is BufferedReader"):

        @App("shop").job
        def bad(file: io.BufferedReader) -> None: ...


def test_an_annotation_that_is_defined_later_is_looked_up_at_the_first_use() -> None:
    @App("shop").job
    def early(later: "DefinedLater") -> None: ...  # pyright: ignore  # noqa: F821

    with pytest.raises(ValueNotStorable, match="'DefinedLater' is not defined"):
        new_job(early, (3,), {})
    globals()["DefinedLater"] = int
    try:
        assert new_job(early, (3,), {}).data == b'{"later":3}'
    finally:
        del globals()["DefinedLater"]


def test_a_nested_type_that_cannot_be_stored_is_refused_at_import() -> None:
    with pytest.raises(InvalidConfig, match="'handles'"):

        @App("shop").job
        def bad(handles: dict[str, list[io.BytesIO]]) -> None: ...


def test_a_union_that_json_cannot_tell_apart_is_refused_at_import() -> None:
    @dataclass
    class Other:
        id: int

    with pytest.raises(InvalidConfig, match="'who'"):

        @App("shop").job
        def bad(who: User | Other) -> None: ...


def test_a_partial_is_a_job_too() -> None:
    app = App("shop")
    bound = functools.partial(report, pages=3)

    job = app.job(id="partial")(bound)

    assert new_job(job, ("r1",), {}).data == b'{"report_id":"r1"}'
    assert job("r1") == "r1 3 None"
    with pytest.raises(ArgumentsRefused, match="'report_id'"):
        new_job(job, (3,), {})
