"""What the shop's web app does in its request handlers: little, and then an event or a job."""

from uuid import uuid4

from errands import Job
from examples.shop import database
from examples.shop.app import AlbumCreated, Imported, SignedUp, app, import_csv


async def sign_up(name: str, email: str) -> str:
    """Add a user, and see to it that mail follows; gives the id of the event."""
    user = database.add_user(uuid4().hex, name, email)
    # Its own id for the event: a handler that is called twice does not send two welcomes.
    return await app.send(
        SignedUp(user_id=user.id, email=email).with_options(id=f"signed-up-{user.id}")
    )


async def create_album(album: str, images: list[str]) -> str:
    """images: paths under the shop's pictures; gives the id of the event."""
    return await app.send(AlbumCreated(album=album, images=images))


async def start_import(path: str) -> Job[Imported]:
    """The job can be watched: by its id, from any process."""
    return await import_csv.enqueue(path)
