"""What customers upload: kept as files, under names of the shop's choice, never of theirs."""

import asyncio
import shutil
from pathlib import Path
from typing import BinaryIO

from fastapi import HTTPException, UploadFile

from examples.shop import images

PICTURES = {"image/jpeg": ".jpg", "image/png": ".png"}


async def keep_picture(album: str, n: int, picture: UploadFile) -> str:
    """Gives its path under `images.pictures()`. Raises HTTPException if it is of another kind."""
    suffix = PICTURES.get(picture.content_type or "")
    if suffix is None:
        raise HTTPException(415, f"{picture.filename} is {picture.content_type}, not JPEG or PNG.")
    name = f"{album}/{n:03}{suffix}"
    await keep(picture, images.pictures() / name)
    return name


async def keep(upload: UploadFile, target: Path) -> None:
    await asyncio.to_thread(_copy, upload.file, target)


def _copy(source: BinaryIO, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)
