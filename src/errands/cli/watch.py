"""Runs followed until they are over: drawn anew on a terminal, elsewhere told as they change."""

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from errands.cli.connection import Api
from errands.cli.output import console, printable
from errands.clock import SystemClock
from errands.model.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

PACE_SECONDS = 0.2
"""Between two looks."""
PACE_MAX = 2.0
AWAY_SECONDS = 30.0
"""How long a server may be away, as one is that starts again, before following it is given up."""
PATIENCE_SECONDS = 5.0
"""After this, who waits without a terminal is told what for."""
STEPS_MAX = 5
"""So many runs at once are shown with their steps."""
DRAWINGS_A_SECOND = 8
FINAL = ("completed", "failed", "cancelled")

Run = dict[str, Any]
Tell = Callable[[list[Run]], None]
View = Callable[..., "RenderableType"]
"""Of a run or job; given the time, the terminal's width, and whether steps are shown."""


def follow(api: Api, ids: Sequence[str], tell: Tell, *, noun: str = "runs") -> list[Run]:
    """The runs with these ids once all are over; `tell` is given them each time they are looked at.

    noun: "jobs" follows those instead.

    Raises InvalidConfig for an id that is none, Unavailable.
    """
    found = {id: _look(api, noun, id) for id in dict.fromkeys(ids)}
    while True:
        tell(list(found.values()))
        open_ids = [id for id, run in found.items() if run["status"] not in FINAL]
        if not open_ids:
            return list(found.values())
        begun = time.monotonic()
        for id in open_ids:
            found[id] = _look(api, noun, id)
        # What takes long to answer is asked less often.
        spent = time.monotonic() - begun
        time.sleep(min(PACE_MAX, max(PACE_SECONDS, 4 * spent)))


def _look(api: Api, noun: str, id: str) -> Run:
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return api.get("api", noun, id)
        except Unavailable:
            if api.is_local or time.monotonic() > deadline:
                raise
            time.sleep(PACE_SECONDS)


def follow_here(api: Api, ids: Sequence[str], *, for_people: bool) -> list[Run]:
    """The same, drawn on the terminal for people; for programs in silence."""
    if not for_people:
        return follow(api, ids, tell_nothing())

    from errands.cli.run_view import live_view

    with drawing(live_view) as tell:
        return follow(api, ids, tell)


# -- telling ---------------------------------------------------------------------------------------


@contextmanager
def drawing(view: "View") -> Generator[Tell]:
    """On a terminal, in place; what is shown last stays."""
    from rich.console import Group
    from rich.live import Live

    runs: list[Run] = []
    clock, out = SystemClock(), console()

    def draw() -> Group:
        now, with_steps = clock.now(), len(runs) <= STEPS_MAX
        return Group(*(view(run, now, out.width, with_steps=with_steps) for run in runs))

    def tell(found: list[Run]) -> None:
        runs[:] = found

    with Live(get_renderable=draw, console=out, refresh_per_second=DRAWINGS_A_SECOND) as live:
        try:
            yield tell
        except KeyboardInterrupt:
            print("What is followed goes on without you.", file=sys.stderr)
            raise
        finally:
            live.vertical_overflow = "visible"


def tell_lines() -> Tell:
    """Each change as one line of JSON."""
    import msgspec

    told: dict[str, Run] = {}

    def tell(found: list[Run]) -> None:
        for run in found:
            if told.get(run["id"]) != run:
                told[run["id"]] = run
                print(msgspec.json.encode(run).decode(), flush=True)

    return tell


def tell_nothing() -> Tell:
    """But what is waited for, if that takes long."""
    begun = time.monotonic()
    is_told = False

    def tell(found: list[Run]) -> None:
        nonlocal is_told
        if is_told or time.monotonic() - begun < PATIENCE_SECONDS:
            return
        for run in found:
            if run["waitingFor"]:
                is_told = True
                whats = "; ".join(one["what"] for one in run["waitingFor"])
                said = printable(f"Run {run['id']} waits for {whats}.")
                print(said, file=sys.stderr, flush=True)

    return tell
