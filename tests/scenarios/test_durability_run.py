"""durability="run": steps are kept at waits and at the end; those since execute again."""

from errands import App, step
from errands.testing import Harness


async def test_steps_since_the_last_wait_execute_again_after_a_crash() -> None:
    app = App("import")
    did: list[str] = []

    async def act(name: str) -> str:
        did.append(name)
        return name

    async def crash_once() -> None:
        did.append("crash?")
        if did.count("crash?") == 1:
            harness.crash()

    @app.job(durability="run")
    async def load() -> list[str]:
        first = await step.run("first", act, "a")
        await step.sleep("nap", "1h")
        second = await step.run("second", act, "b")
        await step.run("crash", crash_once)
        return [first, second]

    async with Harness(app) as harness:
        await load.enqueue()
        await harness.finish()
        assert harness.run(load).result == ["a", "b"]
        assert list(harness.run(load).steps) == ["first", "nap", "second", "crash"]

    assert did == ["a", "b", "crash?", "b", "crash?"]


async def test_a_failed_attempt_keeps_what_was_done_before_it() -> None:
    app = App("import")
    did: list[str] = []

    async def act(name: str) -> str:
        did.append(name)
        return name

    @app.job(durability="run")
    async def load() -> str:
        await step.run("first", act, "a")
        await step.run("second", act, "b")
        if did.count("b") == 1 and len(did) == 2:
            did.append("failed")
            raise RuntimeError
        return "done"

    async with Harness(app) as harness:
        await load.enqueue()
        await harness.finish()
        assert harness.run(load).result == "done"

    assert did == ["a", "b", "failed"]
