"""The server is killed while clients send to it and follow jobs: nothing accepted is lost."""

import json
import random
import socket
import threading
import time

import httpx2

from errands.model.run import RunStatus
from tests.processes import ledger
from tests.processes.children import COMMAND, Child, Office, wait_until, works

KEYS = {
    "ERRANDS_EVENT_KEY": "event-key-of-the-test",
    "ERRANDS_SIGNING_KEY": "signing-key-of-the-test",
    "ERRANDS_API_TOKEN": "api-token-of-the-test",
}
BEARER = {"Authorization": f"Bearer {KEYS['ERRANDS_API_TOKEN']}"}
KILLS, EVENTS, FOLLOWED = 6, 300, 12


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Front:
    """A server on one port, killed and started again there."""

    def __init__(self, office: Office) -> None:
        self.office, self.port = office, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.child = self.start()

    def start(self) -> Child:
        command = ["-c", COMMAND, "serve", "--port", str(self.port)]
        self.child = self.office.start(command, **KEYS)
        wait_until(self.is_ready, "the server is ready")
        return self.child

    def is_ready(self) -> bool:
        try:
            answer = httpx2.get(f"{self.url}/ready", timeout=5, trust_env=False)
        except httpx2.HTTPError:
            assert self.child.process.poll() is None, "".join(self.child.lines)
            return False
        return answer.status_code == 200

    def kill_and_start(self) -> None:
        self.child.kill()
        self.start()


class Sender(threading.Thread):
    """Sends events one after the other. One that was not answered is sent again, under its id."""

    def __init__(self, url: str, numbers: range) -> None:
        super().__init__()
        self._url, self._numbers = url, numbers
        self.accepted: dict[int, str] = {}
        self.repeated = 0

    def run(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=10, trust_env=False) as client:
            for n in self._numbers:
                event = {"name": "office/ordered", "data": {"n": n}, "id": f"order-{n}"}
                while n not in self.accepted:
                    try:
                        answer = client.post(f"/e/{KEYS['ERRANDS_EVENT_KEY']}", json=event)
                    except httpx2.HTTPError:
                        self.repeated += 1
                        time.sleep(0.02)  # the server is away
                        continue
                    if answer.status_code == 200:
                        self.accepted[n] = answer.json()["ids"][0]
                    else:
                        assert answer.status_code == 503, answer.text


class Follower(threading.Thread):
    """An EventSource: comes again with the last id until it was told how the job ended."""

    def __init__(self, url: str, job: str) -> None:
        super().__init__()
        self._url, self._job = url, job
        self.seen: list[dict[str, object]] = []
        self.connections = 0

    def run(self) -> None:
        last = ""
        while not self.seen or self.seen[-1]["status"] not in ("completed", "failed"):
            try:
                with httpx2.stream(
                    "GET",
                    f"{self._url}/api/jobs/{self._job}/events",
                    headers=BEARER | {"Last-Event-ID": last},
                    timeout=20,
                    trust_env=False,
                ) as answer:
                    assert answer.status_code == 200
                    self.connections += 1
                    for line in answer.iter_lines():
                        if line.startswith("id: "):
                            last = line[4:]
                        elif line.startswith("data: "):
                            self.seen.append(json.loads(line[6:]))
            except httpx2.HTTPError:
                time.sleep(0.02)  # the server is away


def test_what_was_accepted_is_done_and_who_follows_misses_nothing(office: Office) -> None:
    front = Front(office)
    works(office.worker(concurrency=5))
    wait_until(lambda: ledger.count(office.path, "function") >= 3, "the functions are known")
    jobs = [
        {
            "type": "job",
            "app": "office",
            "function": "slow",
            "data": {"name": f"j{n}", "seconds": n},
        }
        for n in range(FOLLOWED // 2)
    ] * 2
    answer = httpx2.post(
        f"{front.url}/api/send", json={"items": jobs}, headers=BEARER, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    followers = [Follower(front.url, id) for id in answer.json()["ids"]]
    senders = [Sender(front.url, range(k, EVENTS, 3)) for k in range(3)]
    for thread in (*followers, *senders):
        thread.start()

    draw = random.Random(7)
    for _ in range(KILLS):
        before = sum(len(sender.accepted) for sender in senders)
        enough = before + draw.randrange(5, 30)
        wait_until(
            lambda enough=enough: sum(len(s.accepted) for s in senders) >= min(enough, EVENTS),
            "some more are accepted",
        )
        front.kill_and_start()

    for thread in (*senders, *followers):
        thread.join(60)
        assert not thread.is_alive()
    wait_until(lambda: not ledger.unfinished(office.path), "all runs have ended")
    orders = [row for row in ledger.runs(office.path) if row.function == "fulfil"]
    assert sorted(row.n for row in orders) == list(range(EVENTS))
    assert {row.status for row in orders} == {int(RunStatus.COMPLETED)}
    for follower in followers:
        assert follower.seen[-1]["status"] == "completed"
        stamps = [json.dumps(one, sort_keys=True) for one in follower.seen]
        assert len(stamps) == len(set(stamps)), "nothing is told twice"
    assert sum(follower.connections for follower in followers) > FOLLOWED
    assert ledger.is_sound(office.path)


def test_a_server_told_to_stop_ends_in_order(office: Office) -> None:
    front = Front(office)
    answer = httpx2.post(
        f"{front.url}/e/{KEYS['ERRANDS_EVENT_KEY']}",
        json={"name": "office/ordered", "data": {"n": 1}},
        trust_env=False,
    )
    assert answer.status_code == 200
    assert front.child.terminate() == 0
    assert ledger.count(office.path, "event") == 1
    with ledger.opened(office.path) as db:
        assert db.execute("SELECT count(*) FROM worker WHERE state = 1").fetchone()[0] == 0
