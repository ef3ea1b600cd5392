"""What the driver raises, in the words of `store.interface`."""

import struct

import psycopg

from errands.store.interface import StoreBusy, StoreConflict, StoreUnavailable

UNAVAILABLE = ("08", "53", "57", "58", "25", "28", "3D", "XX")
"""Classes of SQLSTATE that are not about the batch: connection, resources, an operator, the disk, a
server that only reads, who may connect, a database that is not there, damage. What may pass by
itself, or when somebody looks after it.
"""
FIRST_COME = frozenset(("40001", "40P01", "55P03"))
"""Somebody else was first: the same once more may go well."""
REFUSED = (UnicodeEncodeError, OverflowError, struct.error)
"""Values that cannot be written down."""


def translated(error: Exception) -> StoreUnavailable | StoreConflict:
    if not isinstance(error, psycopg.Error):
        return StoreConflict(f"{type(error).__name__}: {error}")
    told = (error.diag.message_primary or str(error) or type(error).__name__).strip()
    state = error.sqlstate
    if state in FIRST_COME:
        return StoreBusy(told)
    if state is None:
        is_ours = isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
        return StoreConflict(f"{type(error).__name__}: {told}") if is_ours else _gone(told)
    if state[:2] in UNAVAILABLE:
        return _gone(told)
    return StoreConflict(f"{type(error).__name__}: {told}")


def _gone(told: str) -> StoreUnavailable:
    return StoreUnavailable(told.splitlines()[0] if told else "the connection is lost")
