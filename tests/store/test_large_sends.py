"""A send too large for one batch: accepted whole, expanded later, perhaps by somebody else."""

from errands.engine.input import CancelAsked, Claim, Sent
from errands.model.ids import RunId
from errands.model.job import NewJob
from errands.model.run import RunStatus
from errands.store.interface import Store
from tests.store.process import Process, StillClock


def test_a_job_that_is_cancelled_before_its_part_of_a_large_send_is_expanded_stays_cancelled(
    process: Process,
) -> None:
    sent = process.submit(Sent((NewJob("shop", "report", b"{}"),) * 501))
    process.committer.step()
    run = RunId(process.answer(sent).ids[0])
    chunks = process.store.reader.inbox(process.worker.id, 0, 9)

    process.decide(CancelAsked(run, "enough"))
    process.decide(*chunks, Claim(500))

    assert [done.status for done in process.store.reader.done([run])] == [RunStatus.CANCELLED]
    assert run not in process.leases
    assert len(process.leases) == 500


def test_a_job_is_cancelled_before_another_process_expands_it(
    process: Process, clock: StillClock, store: Store
) -> None:
    sent = process.submit(Sent((NewJob("shop", "report", b"{}"),) * 501))
    process.committer.step()
    run = RunId(process.answer(sent).ids[0])

    Process(store, clock).decide(CancelAsked(run, "enough"))
    process.drain()

    assert [done.status for done in process.store.reader.done([run])] == [RunStatus.CANCELLED]
    assert run not in process.leases
