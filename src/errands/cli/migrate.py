"""`errands migrate`: make the store, or bring it up to date."""

from contextlib import closing
from typing import Annotated

import typer

from errands.cli.options import Json, Store


def migrate(
    store: Store = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing; exit code 1 if there is something to do."),
    ] = False,
    json: Json = False,
) -> None:
    """Make the store, or bring it up to date. Doing it twice is harmless."""
    from errands.cli.connection import open_existing, store_url
    from errands.cli.output import is_for_people, print_json
    from errands.model.errors import MigrationNeeded
    from errands.sdk.backend import DEFAULT_URL
    from errands.store.open import check_folder, is_postgres, open_store, place, sqlite_path

    url = store_url(store)
    is_new = not is_postgres(url) and not sqlite_path(url).is_file()
    is_current = False
    if check or not is_new:
        try:
            open_existing(url).close()
            is_current = True
        except MigrationNeeded:
            if check:
                raise
    if not is_current:
        if url != DEFAULT_URL:
            check_folder(url)
        with closing(open_store(url)):
            pass
    if is_for_people(json):
        word = "was up to date" if is_current else "is made" if is_new else "is up to date now"
        typer.echo(f"The store {place(url)} {word}.")
    else:
        print_json({"store": place(url), "made": is_new, "migrated": not is_current})
