"""Ids: integers inside, ULIDs outside.

An id is 41 bits of milliseconds since 2024, 10 bits of node and 12 bits of counter: one integer
key, made by the process, ordered by time. The ULID that people see is derived from it with a keyed
MAC, so it needs no index of its own and cannot be guessed.
"""

import hashlib
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
_SHIFTS = range(120, -1, -10)


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
    digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=8, key=key).digest()
    mac = int.from_bytes(digest, "big") >> (64 - _MAC_BITS)
    low = number & ((1 << _LOW_BITS) - 1)
    value = id_time(number) << 80 | low << _MAC_BITS | mac
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in _SHIFTS])


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
