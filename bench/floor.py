"""The floor: a bare group-committing SQLite writer that does the same no-op work, with no features.

It is what the disk, SQLite, a thread and an event loop cost by themselves. What errands takes
beyond that is the price of leases, history, status, retries and replay.
"""

import asyncio
import itertools
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from bench.load import (
    OUTPUT,
    PAYLOAD,
    STEPS,
    fires_at,
    firing_of,
    lead_ms,
    noop,
    now_ms,
    paced,
    pair,
    rate,
)

SCHEMA = """
CREATE TABLE job(id INTEGER PRIMARY KEY, state INT, input BLOB, output BLOB);
CREATE INDEX waiting ON job(id) WHERE state = 0;
CREATE TABLE step(job INT, seq INT, output BLOB, PRIMARY KEY (job, seq)) WITHOUT ROWID;
CREATE TABLE timer(due INT, job INT, PRIMARY KEY (due, job)) WITHOUT ROWID;
"""
# In the order in which a batch is applied; each row list becomes (?,…),(?,…).
INSERT_JOB = "INSERT INTO job(id, state, input) VALUES {rows}"
INSERT_STEP = "INSERT INTO step(job, seq, output) VALUES {rows}"
INSERT_TIMER = "INSERT INTO timer(due, job) VALUES {rows}"
DELETE_TIMER = "DELETE FROM timer WHERE (due, job) IN (VALUES {rows})"
END_JOB = (
    "UPDATE job SET state = 2, output = v.column2 FROM (VALUES {rows}) v WHERE job.id = v.column1"
)
CLAIM = (
    "UPDATE job SET state = 1 WHERE id IN "
    "(SELECT id FROM job WHERE state = 0 ORDER BY id LIMIT ?) RETURNING id"
)
DUE = "SELECT due, job FROM timer WHERE due <= ? ORDER BY due LIMIT 500"
GROUPED = (INSERT_JOB, INSERT_STEP, INSERT_TIMER, DELETE_TIMER, END_JOB)
BATCH = 2_000
CLAIM_SIZE = 500


class Writer:
    """A thread that commits whatever arrived while its last commit was made durable."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "floor.db"
        self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(SCHEMA)
        self.queue: deque[tuple[str, Any, asyncio.Future[Any]]] = deque()
        self.wake, self.loop = threading.Event(), asyncio.get_running_loop()
        self.ids = itertools.count(1)
        threading.Thread(target=self.run, name="floor-writer", daemon=True).start()

    def submit(self, statement: str, row: tuple[Any, ...]) -> "asyncio.Future[Any]":
        future = self.loop.create_future()
        self.queue.append((statement, row, future))
        self.wake.set()
        return future

    def run(self) -> None:
        while self.wake.wait():
            self.wake.clear()
            while batch := [self.queue.popleft() for _ in range(min(len(self.queue), BATCH))]:
                self.loop.call_soon_threadsafe(settle, self.commit(batch))

    def commit(self, batch: list[tuple[str, Any, "asyncio.Future[Any]"]]) -> list[Any]:
        groups: dict[str, list[Any]] = {}
        for statement, row, _ in batch:
            groups.setdefault(statement, []).append(row)
        self.db.execute("BEGIN IMMEDIATE")
        for statement in GROUPED:
            if rows := groups.get(statement):
                self.apply(statement, rows)
        claimed = [self.db.execute(CLAIM, row).fetchall() for row in groups.get(CLAIM, ())]
        self.db.execute("COMMIT")
        return [(future, claimed.pop() if text is CLAIM else None) for text, _, future in batch]

    def apply(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        row = "(" + ",".join("?" * len(rows[0])) + ")"
        for chunk in (rows[at : at + 64] for at in range(0, len(rows), 64)):
            text = statement.format(rows=",".join([row] * len(chunk)))
            self.db.execute(text, tuple(itertools.chain.from_iterable(chunk)))


def settle(answers: list[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, answer in answers:
        future.set_result(answer)


async def run_once(writer: Writer, steps: int) -> None:
    id = next(writer.ids)
    await writer.submit(INSERT_JOB, (id, 1, PAYLOAD))
    for seq in range(steps):
        await noop()
        await writer.submit(INSERT_STEP, (id, seq, OUTPUT))
    await noop()
    await writer.submit(END_JOB, (id, OUTPUT))


async def jobs(folder: Path, n: int) -> float:
    writer = Writer(folder)
    return await rate(lambda: run_once(writer, 0), n, min(1_000, n))


async def runs5(folder: Path, n: int) -> float:
    writer = Writer(folder)
    return await rate(lambda: run_once(writer, STEPS), n, min(100, n))


async def runs5_single(folder: Path, n: int) -> float:
    writer = Writer(folder)
    return await rate(lambda: run_once(writer, STEPS), n, 1)


async def drain(folder: Path, n: int) -> float:
    writer = Writer(folder)
    await asyncio.gather(*(writer.submit(INSERT_JOB, (id, 0, PAYLOAD)) for id in range(n)))

    async def execute(id: int) -> None:
        await noop()
        await writer.submit(END_JOB, (id, OUTPUT))

    started = time.perf_counter()
    executing: set[asyncio.Task[None]] = set()
    while claimed := await writer.submit(CLAIM, (CLAIM_SIZE,)):
        tasks = [asyncio.create_task(execute(id)) for (id,) in claimed]
        executing.update(tasks)
        for task in tasks:
            task.add_done_callback(executing.discard)
    while executing:
        await asyncio.wait(executing)
    return n / (time.perf_counter() - started)


async def latency_ms(folder: Path, n: int) -> dict[str, float]:
    writer, waited = Writer(folder), list[float]()

    async def one() -> None:
        asked = time.perf_counter()
        id = next(writer.ids)
        await writer.submit(INSERT_JOB, (id, 1, PAYLOAD))
        waited.append((time.perf_counter() - asked) * 1000)
        await writer.submit(END_JOB, (id, OUTPUT))

    await paced(one, n, 0.02)
    return pair(waited)


async def lag_ms(folder: Path, n: int) -> dict[str, float]:
    """Beside n sleepers, others that wake up within 2 s: until their firing is durable."""
    writer, lags, firing = Writer(folder), list[float](), firing_of(n)
    far = now_ms() + 3_600_000
    for at in range(0, n, BATCH):
        rows = [(far + id, id) for id in range(at, min(at + BATCH, n))]
        await asyncio.gather(*(writer.submit(INSERT_TIMER, row) for row in rows))
    begin = now_ms() + lead_ms(firing)
    due = [(fires_at(begin, k, firing), n + k) for k in range(firing)]
    await asyncio.gather(*(writer.submit(INSERT_TIMER, row) for row in due))
    reader = sqlite3.connect(writer.path, isolation_level=None)
    while len(lags) < firing:
        (next_due,) = reader.execute("SELECT min(due) FROM timer").fetchone()
        await asyncio.sleep(max(0.0, next_due / 1000 - time.time()))
        while found := reader.execute(DUE, (now_ms(),)).fetchall():
            await asyncio.gather(*(writer.submit(DELETE_TIMER, row) for row in found))
            now = time.time() * 1000
            lags += [now - at for at, _ in found]
    reader.close()
    return pair(lags)
