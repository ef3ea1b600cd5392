"""Ids: integers inside, ULIDs outside.

An id is 41 bits of milliseconds since 2024, 10 bits of node and 12 bits of counter: one integer
key, made by the process, ordered by time. The ULID that people see is derived from it with a keyed
MAC, so it needs no index of its own and cannot be guessed.
"""

import hashlib
from functools import lru_cache
from typing import NewType

RunId = NewType("RunId", int)
EventId = NewType("EventId", int)
WorkerId = NewType("WorkerId", int)
FunctionId = NewType("FunctionId", int)

EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z; 41 bits reach to 2093."""
NODE_BITS, COUNTER_BITS = 10, 12
NODES = 1 << NODE_BITS
_LOW_BITS = NODE_BITS + COUNTER_BITS
_MAC_BITS = 80 - _LOW_BITS
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
# What is not a letter of ours becomes what is no digit of base 32.
_DIGITS = dict.fromkeys(range(128), "-") | {
    ord(letter): digit
    for letter, digit in zip(_ALPHABET, "0123456789abcdefghijklmnopqrstuv", strict=True)
}


def make_id(ms: int, node: int, counter: int) -> int:
    """The id for a moment (Unix ms), a node and a counter below 4096."""
    return (ms - EPOCH_MS) << _LOW_BITS | node << COUNTER_BITS | counter


def id_time(number: int) -> int:
    """Unix milliseconds at which this id was made."""
    return (number >> _LOW_BITS) + EPOCH_MS


def first_id(ms: int) -> int:
    """The smallest id of that millisecond."""
    return (ms - EPOCH_MS) << _LOW_BITS


def public_id(number: int, key: bytes) -> str:
    """The ULID of an id: 26 letters, its time part right, not to be guessed without `key`."""
    mac = _keyed(key).copy()
    mac.update(number.to_bytes(8, "big"))
    low = number & ((1 << _LOW_BITS) - 1)
    rest = low << _MAC_BITS | int.from_bytes(mac.digest(), "big") >> (64 - _MAC_BITS)
    two = _PAIRS
    return (
        f"{_time_part(id_time(number))}{two[rest >> 70]}{two[rest >> 60 & 1023]}"
        f"{two[rest >> 50 & 1023]}{two[rest >> 40 & 1023]}{two[rest >> 30 & 1023]}"
        f"{two[rest >> 20 & 1023]}{two[rest >> 10 & 1023]}{two[rest & 1023]}"
    )


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=8, key=key)


@lru_cache(maxsize=256)
def _time_part(ms: int) -> str:
    return "".join([_PAIRS[ms >> at & 1023] for at in (40, 30, 20, 10, 0)])


def parse_id(text: str, key: bytes) -> int | None:
    """The id behind a ULID; None if it is not one of ours."""
    if len(text) != 26:
        return None
    text = text.upper()
    try:
        value = int(text.translate(_DIGITS), 32)
    except ValueError:
        return None
    ms, low = value >> 80, (value >> _MAC_BITS) & ((1 << _LOW_BITS) - 1)
    if not EPOCH_MS <= ms < EPOCH_MS + (1 << 41):
        return None
    number = (ms - EPOCH_MS) << _LOW_BITS | low
    return number if public_id(number, key) == text else None
