"""A store and a server in front of it: commands give the same answers of both."""

import signal
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from errands import sync
from tests.cli import shop
from tests.cli.conftest import Answer, Process
from tests.cli.test_bad_input import refused

Errands = Callable[..., Answer]
Serve = Callable[..., tuple[Process, str]]
Sending = Callable[[], Any]
KEYS = {
    "ERRANDS_EVENT_KEY": "event-key",
    "ERRANDS_SIGNING_KEY": "signing-key",
    "ERRANDS_API_TOKEN": "api-token",
}


def test_each_reading_command_gives_the_same_of_a_store_and_of_its_server(
    errands: Errands, serve: Serve, url: str
) -> None:
    _, server = serve()
    sent = errands("send", "paid", "order_id=o1", "--url", server).json
    failed = errands("send", "refund", "order_id=o1", "--url", server)
    run = sent["runs"][0]["id"]
    assert (failed.code, sent["runs"][0]["status"]) == (1, "completed")

    for command in (
        ["runs", "list"],
        ["runs", "list", "--status", "failed"],
        ["runs", "list", "--limit", "1"],
        ["runs", "show", run, "--logs"],
        ["runs", "watch", run],
        ["functions", "list"],
        ["events", "list"],
        ["events", "list", "--name", "paid"],
        ["events", "show", sent["id"]],
        ["jobs", "list"],
        ["jobs", "show", run],
        ["jobs", "watch", run],
        ["runs", "show", "X"],
        ["events", "show", "X"],
        ["runs", "list", "--function", "ad"],
        ["runs", "list", "--before", "X"],
    ):
        here, there = errands(*command, "--store", url), errands(*command, "--url", server)
        assert (here.code, here.out, here.err) == (there.code, there.out, there.err), command


def test_a_server_is_found_by_the_environment(errands: Errands, serve: Serve) -> None:
    _, server = serve()
    assert errands("runs", "list", ERRANDS_URL=server).json == []


def test_a_run_is_cancelled_through_a_server(
    errands: Errands, serve: Serve, sending: Sending
) -> None:
    _, server = serve()
    with sending():
        job = sync(shop.nap.with_options(delay="1h").enqueue())

    answer = errands("runs", "cancel", job.id, "--reason", "not wanted", "--url", server)

    assert (answer.json["status"], answer.json["cancelled"]) == ("cancelled", "not wanted")


def test_following_survives_a_server_that_starts_again(
    serve: Serve, errands: Errands, tmp_path: Any
) -> None:
    server, url = serve()
    errands("send", "signed", f"folder={tmp_path}", "--no-follow", "--url", url)
    (run,) = errands("runs", "list", "--url", url).json
    answers: list[Answer] = []
    follower = threading.Thread(
        target=lambda: answers.append(errands("runs", "watch", run["id"], "--url", url))
    )
    follower.start()
    server.signal(signal.SIGKILL)
    server.wait()
    (tmp_path / "go").touch()
    serve(port=int(url.rpartition(":")[2]))
    follower.join(60)

    (answer,) = answers
    assert answer.code == 0
    assert '"status":"completed"' in answer.out.splitlines()[-1]


# -- what is wrong with a server -------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_with_the_next_move(errands: Errands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    answer = errands("runs", "list", "--url", url)
    assert (answer.code, answer.out) == (1, "")
    assert f"No errands server answers at {url}" in answer.err
    assert "errands dev" in answer.err


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://a b"])
def test_a_url_that_is_none_is_refused(errands: Errands, url: str) -> None:
    answer = errands("runs", "list", "--url", url)
    assert answer.code in (1, 2)
    assert answer.err.startswith("Error: ")
    assert "ERRANDS_DEBUG" not in answer.err


class Other(BaseHTTPRequestHandler):
    """A server of something else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, format: str, *args: Any) -> None: ...


def test_another_server_at_the_url_is_recognised(errands: Errands) -> None:
    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{other.server_address[1]}"
        try:
            listed, doctor = errands("runs", "list", "--url", url), errands("doctor", "--url", url)
        finally:
            other.shutdown()
            thread.join()

    assert (listed.code, "Is it errands that answers" in listed.err) == (1, True)
    assert doctor.code == 1
    (problem,) = [one for one in doctor.json["findings"] if not one["ok"]]
    assert (problem["check"], "is no errands server" in problem["finding"]) == ("server", True)
    assert problem["fix"]


def test_a_server_with_keys_wants_them(errands: Errands, guarded: str) -> None:
    refused(errands("runs", "list", "--url", guarded), "Set ERRANDS_API_TOKEN")
    refused(errands("send", "paid", "--no-follow", "--url", guarded), "ERRANDS_EVENT_KEY")
    token = {"ERRANDS_API_TOKEN": KEYS["ERRANDS_API_TOKEN"]}
    assert errands("runs", "list", "--url", guarded, **token).json == []
    key = {"ERRANDS_EVENT_KEY": KEYS["ERRANDS_EVENT_KEY"]}
    assert errands("send", "paid", "--no-follow", "--url", guarded, **key).json["name"] == "paid"


def test_doctor_says_which_key_a_server_wants(errands: Errands, guarded: str) -> None:
    answer = errands("doctor", "--url", guarded)
    (problem,) = [one for one in answer.json["findings"] if not one["ok"]]
    assert (answer.code, problem["check"]) == (1, "token")
    assert "ERRANDS_API_TOKEN" in problem["fix"]


def test_doctor_is_content_with_a_server_that_works(errands: Errands, serve: Serve) -> None:
    _, server = serve()
    answer = errands("doctor", "--url", server)
    checks = [finding["check"] for finding in answer.json["findings"]]
    assert (answer.code, checks) == (
        0,
        ["python", "keys", "server", "store", "committer", "token"],
    )


@pytest.fixture
def guarded(beside: Callable[..., Process]) -> str:
    """The URL of a server with keys."""
    server = beside("serve", "--port", "0", **KEYS)
    return server.wait_line(r"(http://127\.0\.0\.1:\d+)")[1]
