"""What a fork does to open stores: it closes their connections, and the parent opens new ones.

SQLite keeps a process's locks in that process's memory. A child that inherits an open connection
believes that it holds locks which only its parent holds, in every connection that it opens to the
file from then on; the file is destroyed sooner or later. So no connection lives through a fork,
and the child opens a store of its own.
"""

import itertools
import os
import weakref
from typing import Protocol

from errands.store.sqlite import turnstile


class Forking(Protocol):
    def before_fork(self) -> None:
        """Let nobody use the connections, and close them."""
        ...

    def after_fork(self, *, is_child: bool) -> None: ...


_open: dict[int, "weakref.ref[Forking]"] = {}
_numbers = itertools.count()


def opened(store: Forking) -> None:
    """From now on it is told of forks, for as long as it exists."""
    number = next(_numbers)
    _open[number] = weakref.ref(store, lambda _: _open.pop(number, None))


def _all() -> list[Forking]:
    # In one order: two threads may fork at once, and each takes the locks of all.
    return [store for ref in list(_open.values()) if (store := ref()) is not None]


def _before() -> None:
    turnstile.pause_all()
    for store in _all():
        store.before_fork()


def _after(*, is_child: bool) -> None:
    for store in _all():
        store.after_fork(is_child=is_child)
    if is_child:
        _open.clear()
    turnstile.resume_all(is_child=is_child)


os.register_at_fork(
    before=_before,
    after_in_parent=lambda: _after(is_child=False),
    after_in_child=lambda: _after(is_child=True),
)
