"""What the images of a source look like before they are brought to one shape, without decoding them."""

from __future__ import annotations

from contextlib import closing, suppress

from calotype.data.decode import UnusableError, read_header
from calotype.data.files import Files
from calotype.data.kinds import is_picture
from calotype.data.load import find
from calotype.data.toy import PointSource
from calotype.files import expanded

LOOKED_AT = 100  # headers, evenly spaced


def typical_shape(source: str) -> tuple[int, int, int] | None:
    """Width, height and channels of a picture, or of the median image of a source by area.

    Of a folder or archive by a hundred headers, and gray where all of them are. None where no header can be read. Raises `UserError`
    for what is no source.
    """
    headers = []
    if (path := expanded(source)).is_file() and is_picture(path):
        with suppress(UnusableError, OSError), path.open("rb") as file:
            headers.append(read_header(file, path.name))
    elif isinstance(found := find(source), Files):
        with closing(found):
            names = found.listing().images
            for name in names[:: max(1, len(names) // LOOKED_AT)]:
                with suppress(UnusableError), found.open(name) as file:
                    headers.append(read_header(file, name))
    elif not isinstance(found, PointSource):
        _, height, width, channels = found.pixels.shape
        return int(width), int(height), int(channels)
    if not headers:
        return None
    middle = sorted(headers, key=lambda header: header.width * header.height)[len(headers) // 2]
    return middle.width, middle.height, 1 if all(header.gray for header in headers) else 3
