"""On uvloop, which does not show whether it is idle, order is kept by counting its passes."""

import asyncio
from pathlib import Path

import pytest

from errands import App, step
from tests.sdk.rig import Rig

uvloop = pytest.importorskip("uvloop")


async def after(seconds: float, value: str) -> str:
    await asyncio.sleep(seconds)
    return value


@pytest.mark.parametrize("way", ["straight", "evicted"])
def test_what_a_result_sets_off_is_through_before_the_next_one(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        rig = Rig(App("t"), tmp_path, way)

        @rig.app.job
        async def cascade() -> list[str]:
            order: list[str] = []

            async def deep(level: int, id: str) -> None:
                if level:
                    await asyncio.gather(deep(level - 1, id))
                else:
                    await step.run(id, after, 0.01, id)

            async def branch(level: int, id: str) -> None:
                await deep(level, id)
                order.append(id)

            await asyncio.gather(branch(5, "a"), branch(0, "b"), branch(2, "c"))
            await step.sleep("nap", "10ms")
            rig.saw(order)
            return order

        async with rig.work():
            result = await rig.result(cascade)

        # They end in one batch, in the order in which they began; levels do not matter.
        assert result == ["b", "c", "a"]
        assert rig.trace == [result]

    uvloop.run(main())
