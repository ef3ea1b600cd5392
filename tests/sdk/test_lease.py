"""How an offer to give the lease back is taken."""

from pathlib import Path

from errands import App
from errands.model.call import Opened
from errands.sdk.lease import Lease
from tests.sdk.rig import Rig


class Seen:
    """Stands for the session: notes what its lease tells it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def parked(self) -> None:
        self.told.append("parked")

    def look(self) -> None:
        self.told.append("look")

    def lost(self, answer: object) -> None:
        self.told.append("lost")

    def suspend(self) -> None:
        self.told.append("suspend")

    def give_up(self, error: BaseException) -> None:
        self.told.append("give up")


async def offer(tmp_path: Path, opened: Opened) -> tuple[Lease, Seen]:
    """What becomes of a lease that was offered with a wait."""
    rig, leases = Rig(App("t"), tmp_path, "straight"), list[tuple[Lease, Seen]]()

    async def answer() -> Opened:
        return opened

    @rig.app.job
    async def job() -> None:
        (session,) = rig.dispatcher.runner.sessions.values()  # type: ignore[union-attr]
        seen = Seen()
        lease = Lease(session.call, session.journal, seen)  # type: ignore[attr-defined]
        lease.leave()
        await lease.left(answer())
        leases.append((lease, seen))

    async with rig.work():
        await rig.result(job)
    return leases[0]


async def test_a_lease_that_was_taken_back_is_parked(tmp_path: Path) -> None:
    lease, seen = await offer(tmp_path, Opened(None, parked=True))
    assert (lease.is_parked, seen.told) == (True, ["parked"])


async def test_a_lease_that_was_not_taken_back_is_held_and_the_session_looks(
    tmp_path: Path,
) -> None:
    lease, seen = await offer(tmp_path, Opened(None, parked=False))
    assert (lease.is_parked, lease.is_out, seen.told) == (False, False, ["look"])
