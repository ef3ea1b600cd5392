"""The envelope of an event: what travels around its data."""

# pyright: reportPrivateUsage=false
# Users see what an Envelope tells; what was given with it is for functions of this module.

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from errands.model.errors import NotInRun

NOBODY: Final[Mapping[str, Any]] = MappingProxyType({})


class Envelope:
    """What travels around an event's data."""

    __slots__ = ("_id", "_name", "_sent", "_ts", "_user", "_v")

    def __init__(
        self,
        name: str,
        v: str | None = None,
        *,
        id: str | None = None,
        ts: datetime | None = None,
        user: Mapping[str, Any] = NOBODY,
        sent: bool = False,
    ) -> None:
        self._name, self._v = name, v
        self._id, self._ts, self._user = id, ts, user
        self._sent = sent

    @property
    def id(self) -> str:
        """Unique for 24 h: a second event with this id starts nothing."""
        if self._id is None:
            raise NotInRun("The id of an event that was not sent")
        return self._id

    @property
    def name(self) -> str:
        return self._name

    @property
    def ts(self) -> datetime:
        if self._ts is None:
            raise NotInRun("The time of an event that was not sent")
        return self._ts

    @property
    def user(self) -> Mapping[str, Any]:
        return self._user

    @property
    def v(self) -> str | None:
        return self._v

    def __repr__(self) -> str:
        parts = {"id": self._id, "ts": self._ts, "user": dict(self._user), "v": self._v}
        given = "".join(f", {name}={value!r}" for name, value in parts.items() if value)
        return f"Envelope({self._name!r}{given})"


def given_options(envelope: Envelope) -> tuple[str | None, datetime | None, Mapping[str, Any]]:
    """Id, time and user as `with_options` set them; those of a received event are its own."""
    if envelope._sent:
        return None, None, NOBODY
    return envelope._id, envelope._ts, envelope._user


def with_given(
    envelope: Envelope, id: str | None, ts: datetime | None, user: Mapping[str, Any] | None
) -> Envelope:
    """The envelope of the same event with these options over those given before."""
    old_id, old_ts, old_user = given_options(envelope)
    return Envelope(
        envelope.name,
        envelope.v,
        id=old_id if id is None else id,
        ts=old_ts if ts is None else ts,
        user=old_user if user is None else user,
    )
