"""`errands demo`: a small story told by real runs, whose worker is killed in the middle."""

from typing import Annotated

import typer

from errands.cli.options import Json


def demo(
    store: Annotated[
        str, typer.Option(metavar="URL", help="Where its store shall be, a SQLite file.")
    ] = "sqlite:///.errands/demo.db",
    json: Json = False,
) -> None:
    """See it work, in some seconds: steps, a retry, a wait, and a worker killed on the way.

    Its store is all that it writes. Exit code 1 if it does not end as it should.
    """
    from errands.cli.connection import connected, store_url
    from errands.cli.output import exit_as, is_for_people, print_json
    from errands.cli.story import Story, make_store

    for_people = is_for_people(json)
    make_store(store_url(store))
    with connected(store) as api, Story(api, store, is_told=for_people) as story:
        runs = story.play()
    if not for_people:
        print_json(runs)
    exit_as(runs)
