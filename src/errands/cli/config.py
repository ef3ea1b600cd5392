"""`errands config show`: each setting, its value, and where it is from."""

from typing import TYPE_CHECKING

from errands.cli.options import Json

if TYPE_CHECKING:
    from errands.settings import Found


def config_show(json: Json = False) -> None:
    """Each value, and where it is from. Secrets are told to be set, and not shown."""
    import os
    from pathlib import Path

    from errands.cli.output import console, is_for_people, print_json, printable
    from errands.sdk.backend import DEFAULT_URL
    from errands.settings import VARIABLES, Found, find_file, find_settings

    url = os.environ.get("ERRANDS_URL")
    found = find_settings(os.environ, find_file(Path.cwd()))
    rows = [Found("url", url or DEFAULT_URL, "ERRANDS_URL" if url else "default"), *found]
    if not is_for_people(json):
        print_json(
            [
                {"name": one.name, "variable": VARIABLES.get(one.name, "ERRANDS_URL")}
                | ({"set": bool(one.value)} if one.is_secret else {"value": one.value})
                | {"origin": one.origin}
                for one in rows
            ]
        )
        return
    out = console()
    for one in rows:
        variable = VARIABLES.get(one.name, "ERRANDS_URL")
        origin = "" if one.is_secret or one.origin == "default" else one.origin
        out.print(
            f"{variable:<22} {printable(shown(one)):<32} {origin}",
            markup=False,
            style="dim" if one.origin == "default" else None,
            soft_wrap=True,
        )


def shown(one: "Found") -> str:
    """As people write it."""
    from errands.model.duration import format_ms

    if one.is_secret:
        return f"set ({one.origin})" if one.value else "not set"
    if one.name.endswith("_ms"):
        return format_ms(one.value)
    if isinstance(one.value, bool):
        return "yes" if one.value else "no"
    if one.name == "cors_origins":
        return ", ".join(one.value) or "none"
    return str(one.value)
