"""The pytest fixture `harness`, opened on the app that your fixture `errands_app` gives.

pytest loads this at its start, in every project that has errands installed: so it imports nothing
but pytest, and the rest when a test asks for it.
"""

from collections.abc import AsyncGenerator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from errands import App
    from errands.testing import Harness

SCOPES: Final = ("function", "class", "module", "package", "session")
"""How long pytest-asyncio may keep a test's event loop. A harness lives in one loop: the test's."""
_BY_ANYIO: Final = "_errands_harness_anyio"


@pytest.fixture
def errands_app() -> "App":
    """The app under test: define a fixture of this name, which takes this one's place."""
    pytest.fail(
        "The fixture `harness` does not know your app. Define the fixture `errands_app`:\n\n"
        "    @pytest.fixture\n    def errands_app() -> App:\n        return app\n",
        pytrace=False,
    )


@pytest.fixture
def harness(request: pytest.FixtureRequest) -> "Harness":
    """`async with Harness(errands_app)`, for the length of a test."""
    return request.getfixturevalue(_fixture_for(request))


def _fixture_for(request: pytest.FixtureRequest) -> str:
    """The fixture that is set up in the loop of this test, by the plugin that runs it."""
    if "anyio_backend" in request.fixturenames:
        return _BY_ANYIO
    if not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(
            "The fixture `harness` needs a plugin that runs async tests. "
            "Install pytest-asyncio, or anyio and mark the test with pytest.mark.anyio.",
            pytrace=False,
        )
    marker = request.node.get_closest_marker("asyncio")
    given = None if marker is None else marker.kwargs.get("loop_scope")
    scope = given or request.config.getini("asyncio_default_test_loop_scope") or "function"
    return f"_errands_harness_{scope}"


def _opener() -> Any:
    """A new function each time: pytest-asyncio notes the scope on it."""

    async def opened(errands_app: "App") -> AsyncGenerator["Harness"]:
        from errands.testing.harness import Harness

        async with Harness(errands_app) as harness:
            yield harness

    return opened


def _fixtures() -> dict[str, Any]:
    found: dict[str, Any] = {_BY_ANYIO: pytest.fixture(_opener(), name=_BY_ANYIO)}
    if find_spec("pytest_asyncio") is not None:
        from pytest_asyncio import fixture

        for scope in SCOPES:
            name = f"_errands_harness_{scope}"
            found[name] = fixture(_opener(), name=name, loop_scope=scope)
    return found


globals().update(_fixtures())
