"""Does a request come from ourselves? It bears the key that only we know."""

import hashlib
import hmac
import os

KEY = "INTERNAL_API_KEY"


def is_internal(authorization: str | None, *, key: str | None = None) -> bool:
    """Whether the value of an `Authorization` header bears the key: `Bearer …`.

    key: default INTERNAL_API_KEY. Where there is none, nothing is internal. Takes as long whatever
    was given, right or wrong.
    """
    wanted = os.environ.get(KEY, "") if key is None else key
    scheme, _, given = (authorization or "").partition(" ")
    # Digests have one length: a comparison tells nothing about that of the key either.
    is_same = hmac.compare_digest(_digest(given.strip()), _digest(wanted.strip()))
    return is_same and scheme.lower() == "bearer" and bool(wanted.strip())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
