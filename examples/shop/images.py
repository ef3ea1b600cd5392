"""Pictures: drawing some to work on, and making small ones of big ones.

A picture is named by its path under `pictures()`, e.g. "4f1c/007.jpg".
"""

import math
import os
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from errands import NonRetriableError
from examples.shop import settings
from examples.shop.executions import record_execution

SIZE = (2400, 1600)
COVER = (960, 640)
THUMBNAIL = (240, 160)


def pictures() -> Path:
    return settings.DATA / "pictures"


def thumbnails() -> Path:
    return settings.FILES / "thumbnails"


def make_thumbnail(picture: str) -> str:
    """A small copy; gives its path under `thumbnails()`."""
    record_execution()
    return _shrink(picture, THUMBNAIL, picture)


def make_cover(picture: str) -> str:
    """A copy of middle size, for the head of the album; gives its path under `thumbnails()`."""
    record_execution()
    return _shrink(picture, COVER, str(Path(picture).with_stem("cover")))


def list_thumbnails(album: str) -> list[str]:
    """Those that are finished, by their paths under `settings.FILES`."""
    found = (thumbnails() / album).glob("[!.]*")
    return sorted(str(path.relative_to(settings.FILES)) for path in found)


def _shrink(picture: str, size: tuple[int, int], name: str) -> str:
    target = thumbnails() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Image.open(pictures() / picture) as image:
            small = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise NonRetriableError(f"{picture} is no picture.") from error
    # Under its final name when it is whole: a crash leaves no half a picture, a repetition no harm.
    unfinished = target.with_stem(f".{target.stem}")
    small.save(unfinished)
    os.replace(unfinished, target)
    return name


def draw_album(folder: Path, count: int) -> list[Path]:
    """Draw `count` pictures, JPEG and PNG in turn, as from a camera; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n:03}.{'png' if n % 2 else 'jpg'}" for n in range(count)]
    for n, path in enumerate(paths):
        _draw(hue=255 * n // count, sun=n / count).save(path)
    return paths


def _draw(hue: int, sun: float) -> Image.Image:
    """A sunset over hills. hue: 0 to 255; sun: how far it has wandered, 0.0 to 1.0."""
    width, height = SIZE
    up = Image.linear_gradient("L")
    tint = up.point([(hue + level // 5) % 256 for level in range(256)])
    sky = Image.merge("HSV", (tint, up, ImageOps.invert(up))).convert("RGB")
    image = sky.resize(SIZE, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    x, y = width * (0.15 + 0.7 * sun), height * (0.45 - 0.25 * math.sin(math.pi * sun))
    draw.ellipse((x - 130, y - 130, x + 130, y + 130), fill=(255, 236, 180))
    for layer in range(1, 5):
        ridge = [(x, _ridge(layer, hue, x)) for x in range(0, width + 20, 20)]
        shade = (90 // layer, 110 // layer, 120 // layer)
        draw.polygon([(0, height), *ridge, (width, height)], fill=shade)
    return image


def _ridge(layer: int, hue: int, x: int) -> float:
    waves = 60 * math.sin(x / (170 + 40 * layer) + hue + layer) + 14 * math.sin(x / 37 + layer)
    return SIZE[1] * (0.5 + 0.11 * layer) + waves
