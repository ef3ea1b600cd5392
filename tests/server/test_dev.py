"""`errands dev`: server and worker in one process, started anew when the app changes."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.children import ERRANDS, SECONDS, SHOP, Running, environment, wait_until
from tests.server.conftest import Start


@pytest.fixture
def dev(errands: Start) -> Callable[..., Running]:
    def begin(*command: str, **variables: str) -> Running:
        return errands("dev", "--port", "0", *command, **variables)

    return begin


def send(server: Running, item: str = "tea") -> str:
    event = {"name": "shop/ordered", "data": {"item": item}}
    answer = httpx2.post(f"{server.url()}/e/any", json=event, timeout=SECONDS, trust_env=False)
    answer.raise_for_status()
    (id,) = answer.json()["ids"]
    return id


def get(server: Running, path: str, **headers: str) -> Any:
    return httpx2.get(f"{server.url()}{path}", headers=headers, timeout=SECONDS, trust_env=False)


def pack_other(folder: Path) -> None:
    (folder / "shop.py").write_text(SHOP.replace("packed {", "wrapped {"))


def result_of(server: Running, line: "re.Match[str]") -> Any:
    return get(server, f"/api/jobs/{line[1]}/status").json()["result"]


ENDED = r"shop/pack +completed +\d.* (\w{26})"


def test_it_greets_in_four_lines_then_tells_each_run_in_one(dev: Any) -> None:
    server = dev("shop:app")
    server.wait_said("Ctrl-C")
    assert len(server.lines) == 4
    assert "app shop (shop:app), 2 functions" in server.lines[0]
    assert "no keys, for this machine only" in server.lines[1]
    assert ".errands/errands.db" in server.lines[2]
    assert "errands send shop/ordered item=…" in server.lines[3]

    send(server)

    line = server.wait_said(ENDED)
    assert re.match(r"\d\d:\d\d:\d\d  shop/pack", line.string)
    assert result_of(server, line) == "packed tea"
    assert len(server.lines) == 5


def test_a_run_that_fails_says_why_in_its_line(dev: Any, run: Start) -> None:
    server = dev()
    server.wait_said("Ctrl-C")

    code = "from errands import sync; import shop; sync(shop.refuse.enqueue('sold\\x1b[2J out'))"
    assert run("-c", code).wait() == 0

    line = server.wait_said(r"shop/refuse +failed")
    assert line.string.endswith("ValueError: sold [2J out\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("more", [(), ("--no-reload",)], ids=["reload", "no reload"])
def test_told_to_stop_it_leaves_with_0(dev: Any, number: int, more: tuple[str, ...]) -> None:
    server = dev(*more)
    server.wait_said("Ctrl-C")
    server.signal(number)
    assert server.wait() == 0
    assert "Traceback" not in server.said


def test_the_server_ends_with_a_supervisor_that_is_killed(dev: Any) -> None:
    server = dev()
    server.wait_said("Ctrl-C")
    server.signal(signal.SIGKILL)
    server.wait()


# -- reload ----------------------------------------------------------------------------------------


def test_a_changed_file_is_executed_as_it_is_now(dev: Any, folder: Path) -> None:
    server = dev()
    server.wait_said("Ctrl-C")

    pack_other(folder)
    server.wait_said("2 functions, ready")

    send(server)
    assert result_of(server, server.wait_said(ENDED)) == "wrapped tea"


def test_a_syntax_error_is_told_and_the_next_change_mends_it(dev: Any, folder: Path) -> None:
    server = dev()
    server.wait_said("Ctrl-C")

    (folder / "shop.py").write_text("def (\n")
    server.wait_said(r"Importing 'shop' failed: SyntaxError: .* at .*shop.py:1")
    send(server)  # kept, for when it is mended
    pack_other(folder)

    assert result_of(server, server.wait_said(ENDED)) == "wrapped tea"


def test_who_asks_while_it_starts_anew_waits_and_is_answered(dev: Any, folder: Path) -> None:
    server = dev()
    server.wait_said("Ctrl-C")

    pack_other(folder)
    server.wait_said("has changed")
    assert get(server, "/health").status_code == 200


def test_without_reload_a_change_does_nothing(dev: Any, folder: Path) -> None:
    server = dev("--no-reload")
    server.wait_said("Ctrl-C")
    pack_other(folder)

    send(server)

    assert result_of(server, server.wait_said(ENDED)) == "packed tea"


# -- which App, which store, which host ------------------------------------------------------------


def test_without_an_app_it_serves_and_says_so(dev: Any, folder: Path) -> None:
    (folder / "shop.py").unlink()
    server = dev()
    server.wait_said("no App, so nothing is executed: errands dev module:app")
    assert get(server, "/ready").status_code == 200


def test_the_store_is_where_it_is_told(dev: Any, folder: Path) -> None:
    dev("--db", "mine.db").wait_said("Ctrl-C")
    assert (folder / "mine.db").is_file()
    assert not (folder / ".errands").exists()


def test_a_server_in_errands_url_is_left_aside(dev: Any, folder: Path) -> None:
    dev(ERRANDS_URL="http://127.0.0.1:8288").wait_said("Ctrl-C")
    assert (folder / ".errands" / "errands.db").is_file()


def test_a_module_that_is_not_there_is_told_at_once(dev: Any) -> None:
    server = dev("nowhere:app")
    assert server.wait() == 2
    assert server.lines[-1].startswith("Error: There is no module 'nowhere'.")


def test_a_host_that_others_reach_is_refused(dev: Any) -> None:
    server = dev("--host", "0.0.0.0")
    assert server.wait() == 2
    assert "Other machines can reach 0.0.0.0, and a development server has no keys" in server.said


def test_a_host_that_others_reach_may_be_asked_for(dev: Any) -> None:
    server = dev("--host", "0.0.0.0", "--open-to-network")
    server.wait_said("no keys, for everybody who reaches it")
    assert get(server, "/health", Host="devbox.example").status_code == 200


def test_a_port_in_use_is_told(errands: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = errands("dev", "--port", str(other.getsockname()[1]))
        assert server.wait() == 2
    assert "is in use: another program listens there" in server.said


def test_web_pages_of_others_are_kept_away(dev: Any) -> None:
    server = dev(ERRANDS_CORS_ORIGINS="https://shop.example")
    server.wait_said("Ctrl-C")

    assert get(server, "/ready", Host="rebound.example").status_code == 403
    assert get(server, "/ready", Origin="https://evil.example").status_code == 403
    assert get(server, "/ready", Origin="null").status_code == 403
    assert get(server, "/ready", Origin="http://localhost:5173").status_code == 200
    assert get(server, "/ready", Origin="https://shop.example").status_code == 200
    assert get(server, "/ready", Host="localhost:8288").status_code == 200


def test_pages_of_this_machine_may_read_what_it_answers(dev: Any) -> None:
    server = dev()
    server.wait_said("Ctrl-C")
    for origin in ("http://localhost:5173", "https://127.0.0.1", "http://[::1]:3000"):
        answer = get(server, "/ready", Origin=origin)
        assert answer.headers["access-control-allow-origin"] == origin


# -- colours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_it_is_coloured_on_a_terminal_unless_no_color_is_set(
    folder: Path, variables: dict[str, str], is_coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *ERRANDS, "dev", "--port", "0"],
        cwd=folder,
        env=environment(TERM="xterm-256color", **variables),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""

    def has_greeted() -> bool:
        nonlocal said
        said += os.read(ours, 4096)
        return b"Ctrl-C" in said

    wait_until(has_greeted, "it has greeted")
    process.terminate()
    assert process.wait(SECONDS) == 0
    os.close(ours)
    assert (b"\x1b[1m" in said) == is_coloured
