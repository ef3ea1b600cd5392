"""Schema migrations: numbered SQL files, applied in order, never edited once released."""

import hashlib
from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(package: str) -> list[Migration]:
    """A dialect's migrations, in order; their numbers have no gap."""
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text())
        for file in files(package).joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    found.sort()
    assert [m.number for m in found] == list(range(1, len(found) + 1)), "a migration is missing"
    return found


def pending(known: list[Migration], applied: dict[int, str]) -> list[Migration]:
    """Those still to apply. Raises ValueError if an applied one differs, or is not known here."""
    by_number = {m.number: m for m in known}
    for number, checksum in applied.items():
        if number not in by_number:
            raise ValueError(
                f"the store has migration {number}, which this version does not know: it is newer"
            )
        if by_number[number].checksum != checksum:
            raise ValueError(f"migration {by_number[number].name} was applied with another text")
    return [m for m in known if m.number not in applied]
