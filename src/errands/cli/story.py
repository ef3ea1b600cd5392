"""What `errands demo` plays: its worker, the event, and what is told about them."""

import subprocess
import sys
import tempfile
import time
from typing import IO, Any, Self

from errands.cli.connection import Api
from errands.cli.run_view import live_view
from errands.cli.watch import drawing, follow
from errands.model.errors import ErrandsError
from errands.store.open import check_folder, open_store, sqlite_path

APP = "errands.cli.sample:app"
EVENT = {"name": "demo/signed-up", "data": {"name": "Ada"}}
STEPS_BEFORE = 3
"""Completed steps after which the worker is killed."""
START_SECONDS = 30.0
PACE_SECONDS = 0.02

Run = dict[str, Any]


def make_store(url: str) -> None:
    """Raises InvalidConfig."""
    if not (folder := sqlite_path(url).parent).is_dir() and folder.name != ".errands":
        check_folder(url)
    open_store(url).close()


class Story:
    """Plays it once; whatever happens, no worker is left behind."""

    def __init__(self, api: Api, store: str, *, is_told: bool) -> None:
        self._api, self._store, self._is_told = api, store, is_told
        self._worker: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the story
        self._is_killed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.terminate()
            self._worker.wait()
        self._log.close()

    def play(self) -> list[Run]:
        """The runs, which are over."""
        worker = self._start()
        self._say(f"A worker starts (process {worker}), on the store {self._store}.")
        self._wait_for_functions()
        (event,) = self._api.post("e", "none", body=EVENT)["ids"]
        self._say('Ada signs up: the event "demo/signed-up" is sent. Two functions listen to it.\n')
        ids = [run["id"] for run in self._api.get("api", "events", event)["runs"]]
        runs = self._follow(ids)
        if all(run["status"] == "completed" for run in runs):
            self._say(_moral(runs, self._store))
        return runs

    def _follow(self, ids: list[str]) -> list[Run]:
        if not self._is_told:
            return follow(self._api, ids, self._kill_in_time)
        with drawing(live_view) as draw:

            def tell(runs: list[Run]) -> None:
                draw(runs)
                self._kill_in_time(runs)

            return follow(self._api, ids, tell)

    def _kill_in_time(self, runs: list[Run]) -> None:
        """Once so many steps have completed."""
        done = sum(step["status"] == "completed" for run in runs for step in run["steps"])
        if self._is_killed or done < STEPS_BEFORE:
            return
        self._is_killed = True
        assert self._worker is not None
        self._worker.kill()
        self._worker.wait()
        killed, other = self._worker.pid, self._start()
        self._say(f"kill -9 {killed}: the worker is dead. Another one starts (process {other}).\n")

    # -- the worker ----------------------------------------------------------------------------

    def _start(self) -> int:
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "errands.cli.main", "worker", APP, "--store", self._store],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            # Ctrl-C is for this process, which ends the worker.
            process_group=0,
        )
        return self._worker.pid

    def _wait_for_functions(self) -> None:
        """Until the worker has registered them. Raises ErrandsError."""
        assert self._worker is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._api.get("api", "functions", app="demo")["functions"]:
            if self._worker.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                said = self._log.read().decode(errors="replace").strip()
                raise ErrandsError(
                    f"The demo's worker does not work: {said or 'it says nothing'}",
                    hint="`errands doctor` may know why.",
                )
            time.sleep(PACE_SECONDS)

    def _say(self, text: str) -> None:
        if self._is_told:
            print(text)


def _moral(runs: list[Run], store: str) -> str:
    crashed = sum(one["what"] == "crashed" for run in runs for one in run["history"])
    what = {0: "no run", 1: "a run", 2: "both runs"}[crashed]
    return f"""
The mail server hung up on the first try, so the mail was tried again (✗ marks what failed). The
kill -9 hit {what}; the other worker went on from the steps that were kept.

Look at it:   errands runs list --store {store}
              errands runs show {runs[0]["id"]} --store {store}
Your own:     errands init"""
