"""What `errands dev` was asked, as one process tells it another."""

import msgspec

from errands.listening import HOST, PORT
from errands.settings import Settings


class DevOptions(msgspec.Struct, frozen=True):
    target: str | None
    """module:attribute of the App; None: there is none, and nothing is executed here."""
    store: str | None = None
    """URL; None: the App's own, else ERRANDS_URL, else the default file."""
    settings: Settings = Settings()
    host: str = HOST
    port: int = PORT
    is_open: bool = False
    """Others than this machine may come."""
    is_again: bool = False
    """Not the first start: who follows has been greeted."""
