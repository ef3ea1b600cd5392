"""An App whose errands is a server: connections, keys, and what is lost on the way."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from errands import App, Event, InvalidConfig, Unavailable, sync
from errands.api.keys import Keys
from errands.sdk.client import Client, open_backend_for
from errands.sdk.job import AsyncJobFunction
from errands.store.interface import RunFilter
from tests.sdk.served import SECONDS, House

KEYS = Keys(("event-key",), ("right",), "signing-key")


class Paid(Event, name="paid"):
    order_id: str


def shop() -> App:
    app = App("shop")

    @app.job
    async def double(n: int) -> int:
        return 2 * n

    @app.function(on=Paid)
    async def ship(event: Paid) -> None: ...

    return app


def fast() -> float:
    """A clock by which nobody is patient for long."""
    return time.monotonic() * 30


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), shop()).open() as house:
        yield house


def double_of(app: App):  # type: ignore[no-untyped-def]
    """The job, of an app made by `shop`."""
    return AsyncJobFunction(app, app.definitions["double"])


# -- where it is -----------------------------------------------------------------------------------


def test_the_url_chooses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(App("a", url="http://127.0.0.1:8288/").backend, Client)
    monkeypatch.setenv("ERRANDS_URL", "https://errands.example/prefix")
    assert isinstance(App("a").backend, Client)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://", "no URL of a server"),
        ("http://h:port", "no URL of a server"),
        ("http://h:99999", "no URL of a server"),
        ("http://h/?q=1", "no URL of a server"),
        ("http://me:secret@h", r"at h has a user or a password in it\. Set ERRANDS_API_TOKEN"),
        ("ftp://h", "must begin with sqlite, postgresql"),
    ],
)
def test_what_cannot_be_a_server_is_refused_without_telling_secrets(url: str, told: str) -> None:
    with pytest.raises(InvalidConfig, match=told) as refused:
        _ = App("a", url=url).backend
    assert "secret" not in str(refused.value)


def test_a_token_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRANDS_API_TOKEN", "to\nken")
    with pytest.raises(InvalidConfig, match="ERRANDS_API_TOKEN") as refused:
        open_backend_for("http://h", shop())
    assert "ken" not in str(refused.value).replace("ERRANDS_API_TOKEN", "")


def test_a_worker_needs_the_store() -> None:
    with pytest.raises(InvalidConfig, match=r"http://h:1 is a server.*errands worker module:app"):
        App("a", url="http://h:1").worker()


# -- keys ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("locked"), shop(), keys=KEYS).open() as house:
        yield house


@pytest.mark.parametrize(
    ("token", "told"), [(None, "none is set"), ("wrong", "the one that is set is another one")]
)
async def test_without_the_token_the_error_says_which_variable(
    locked: House, monkeypatch: pytest.MonkeyPatch, token: str | None, told: str
) -> None:
    if token is None:
        monkeypatch.delenv("ERRANDS_API_TOKEN", raising=False)
    else:
        monkeypatch.setenv("ERRANDS_API_TOKEN", token)
    app = App("shop", url=locked.url)

    with pytest.raises(InvalidConfig, match=rf"{told}\. Set ERRANDS_API_TOKEN") as refused:
        await app.send({"name": "x", "data": {}})

    assert "wrong" not in str(refused.value)
    app.backend.close()


async def test_with_the_token_everything_is_open(
    locked: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRANDS_API_TOKEN", "right")
    app = App("shop", url=locked.url)

    assert len(await app.send({"name": "x", "data": {}})) == 26
    app.backend.close()


# -- away ------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def test_nobody_there_is_said_with_the_url_in_both_ways() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    app = shop()
    with app.use_backend(Client(url, app, "", now=fast)):
        with pytest.raises(Unavailable, match="cannot be reached: Connection refused") as one:
            await app.send(Paid(order_id="1"))
        with pytest.raises(Unavailable) as other:
            await asyncio.to_thread(lambda: sync(app.send(Paid(order_id="1"))))
        app.backend.close()

    assert url in str(one.value)
    assert str(one.value) == str(other.value)


async def test_a_name_that_is_not_known_is_said() -> None:
    app = shop()
    with app.use_backend(Client("http://no-such-host.invalid:1", app, "", now=fast)):
        with pytest.raises(Unavailable, match=r"no-such-host\.invalid"):
            await app.send(Paid(order_id="1"))
        app.backend.close()


async def test_who_comes_before_the_server_waits_for_it(tmp_path: Path) -> None:
    port = free_port()
    app = App("shop", url=f"http://127.0.0.1:{port}")
    sending = asyncio.create_task(app.send({"name": "x", "data": {}}))
    house = House(tmp_path, shop(), port=port)

    def serve() -> None:
        with house.open():
            over.wait(SECONDS)

    over = threading.Event()
    serving = asyncio.create_task(asyncio.to_thread(serve))
    try:
        assert len(await sending) == 26
    finally:
        over.set()
        await serving
        app.backend.close()


async def test_who_follows_a_job_does_not_notice_a_new_server(tmp_path: Path) -> None:
    port = free_port()
    app, url = shop(), f"http://127.0.0.1:{port}"
    slow = App("shop", url=url)

    @slow.job
    async def rest() -> str:
        return "rested"

    with House(tmp_path, app, port=port).open():
        # Nobody executes it here: its function is not the worker's.
        job = await rest.enqueue()
        waiting = asyncio.create_task(job.result())
        watching = asyncio.create_task(last_of(job))
        await job.status()
    with House(tmp_path, slow, port=port).open():
        async with asyncio.timeout(SECONDS):
            assert await waiting == "rested"
            assert await watching == "completed"
    slow.backend.close()


async def last_of(job) -> str:  # type: ignore[no-untyped-def]
    return [status.status async for status in job.watch()][-1]


# -- lost on the way -------------------------------------------------------------------------------


class Wire:
    """A connection between clients and a server, which may be cut when an answer comes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.to_cut = b""
        """The next answer to a request that begins so is lost."""
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._carry, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._port))
        self._clients.append(client)
        with client, server:
            while request := _message(client):
                server.sendall(request)
                answer = _message(server)
                if self.to_cut and request.startswith(self.to_cut):
                    self.to_cut = b""
                    return
                client.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)


def _message(sender: socket.socket) -> bytes:
    """One whole request or answer; b"" if no more comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := sender.recv(1_000_000)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        more = sender.recv(1_000_000)
        body, data = body + more, data + more
    return data


@contextmanager
def wired(house: House) -> Iterator[tuple[Wire, App]]:
    wire = Wire(int(house.url.rpartition(":")[2]))
    app = shop()
    try:
        with app.use_backend(Client(wire.url, app, "")):
            yield wire, app
            app.backend.close()
    finally:
        wire.close()


async def test_a_job_whose_answer_was_lost_is_there_once(house: House) -> None:
    with wired(house) as (wire, app):
        await app.connected()
        before, runs = house.front.asked, runs_of(house, "double")
        wire.to_cut = b"POST /api/send"

        job = await double_of(app).enqueue(4)

        assert house.front.asked == before + 2
        assert await job.result(timeout="30s") == 8
        assert runs_of(house, "double") == runs + 1


def runs_of(house: House, slug: str) -> int:
    return len(house.worker.store.reader.runs(RunFilter(function=f"shop/{slug}")))


async def test_an_event_with_an_id_whose_answer_was_lost_counts_once(house: House) -> None:
    with wired(house) as (wire, app):
        await app.connected()
        wire.to_cut = b"POST /api/send"
        assert await app.send(Paid(order_id="1").with_options(id="e1")) == "e1"


async def test_an_event_without_an_id_whose_answer_was_lost_is_not_sent_again(
    house: House,
) -> None:
    with wired(house) as (wire, app):
        await app.connected()
        before = house.front.asked
        wire.to_cut = b"POST /api/send"
        with pytest.raises(Unavailable, match="may have been done all the same"):
            await app.send(Paid(order_id="1"))
        assert house.front.asked == before + 1


def test_a_question_whose_answer_was_lost_is_asked_again_from_plain_code(house: House) -> None:
    with wired(house) as (wire, app):
        job = sync(double_of(app).enqueue(1))
        wire.to_cut = b"GET /api/jobs"
        assert sync(job.status()).id == job.id
        wire.to_cut = b"GET /api/jobs"
        assert sync(job.result(timeout="30s")) == 2


# -- connections -----------------------------------------------------------------------------------


def test_each_loop_and_plain_code_have_their_own(house: House) -> None:
    app = shop()
    with app.use_backend(Client(house.url, app, "")):
        double = double_of(app)

        async def one() -> int:
            return await (await double.enqueue(1)).result(timeout="30s")

        assert [asyncio.run(one()) for _ in range(3)] == [2, 2, 2]
        assert sync(sync(double.enqueue(2)).result(timeout="30s")) == 4
        assert asyncio.run(one()) == 2
        app.backend.close()


SCRIPT = """
import asyncio, os, sys
from errands import App, sync
app = App("shop")

@app.job
async def double(n: int) -> int: ...

async def one(n: int) -> None:
    print(await (await double.enqueue(n)).result(timeout="30s"), flush=True)
"""


def run(house: House, code: str, warnings: str = "error") -> str:
    """What a script in a process of its own printed; on stderr there is nothing."""
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", SCRIPT + code],
        env=os.environ | {"ERRANDS_URL": house.url},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "asyncio.run(one(1))",
        "sync(app.send({'name': 'x', 'data': {}})); print(sync(sync(double.enqueue(1)).result()))",
        "asyncio.run(one(1)); app.backend.close()",
        "async def main():\n    await one(1)\n    app.backend.close()\nasyncio.run(main())",
        "import uvloop\nuvloop.run(one(1))",
    ],
)
def test_a_script_that_closes_nothing_leaves_nothing_open(house: House, code: str) -> None:
    assert run(house, code) == "2\n"


def test_a_forked_child_has_connections_of_its_own(house: House) -> None:
    code = """
sync(sync(double.enqueue(1)).result())
pid = os.fork()
assert sync(sync(double.enqueue(2)).result()) == 4
asyncio.run(one(2))
if pid:
    assert os.waitpid(pid, 0)[1] == 0
"""
    # What it inherits it must not close, so Python would mention it at the end.
    assert run(house, code, "ignore").replace("\n", "") == "44"


def test_importing_errands_and_declaring_an_app_loads_no_http() -> None:
    code = (
        "import sys; from errands import App; App('a', url='http://h').backend; "
        "print('httpx2' in sys.modules, 'ssl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
