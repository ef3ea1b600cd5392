"""Step ids of errands' own are not the user's."""

from pathlib import Path

from errands import App, Cancel, Event, step
from errands.model.event import NewEvent
from errands.model.run import RunStatus
from errands.store.interface import RunFilter
from tests.sdk.rig import Rig


class Made(Event, name="a/made"):
    k: str


class Gone(Event, name="a/gone"):
    k: str


def one() -> int:
    return 1


async def test_an_id_of_errands_own_is_refused(tmp_path: Path) -> None:
    rig = Rig(App("t"), tmp_path, "straight")

    @rig.app.job(retries=0)
    async def job() -> None:
        await step.run("errands/cancel:0", one)

    async with rig.work():
        failure = await rig.failure(job)

    assert failure.code == "invalid_config"
    assert "errands/cancel:0" in failure.message


async def test_steps_may_be_called_as_what_cancels_a_run(tmp_path: Path) -> None:
    rig = Rig(App("t"), tmp_path, "straight")

    @rig.app.function(on=Made, cancel=(Cancel(Gone), Cancel(Gone, match="data.k")))
    async def f(event: Made) -> None:
        for _ in range(3):
            await step.run("cancel", one)

    async with rig.work():
        await rig.start(NewEvent("a/made", b'{"k":"x"}'))
        (run,) = rig.store.reader.runs(RunFilter())
        done = await rig.end(run.id)

    assert done.status == RunStatus.COMPLETED
