"""Compressed pixels: are all their fragments in the file?"""

from __future__ import annotations

import struct
from typing import IO

_ITEM = (0xFFFE, 0xE000)
_END = (0xFFFE, 0xE0DD)


def fragments_are_complete(file: IO[bytes], offset: int, frames: int) -> bool:
    """Walk the fragments from `offset` without reading them; False if the file ends inside one.

    A missing end marker after a whole last fragment is forgiven (some writers leave it out) as
    long as there are at least as many fragments as frames.
    """
    size = file.seek(0, 2)
    place, items = offset, 0
    while place + 8 <= size:
        file.seek(place)
        group, element, length = struct.unpack("<HHI", file.read(8))
        if (group, element) == _END:
            return items > 1
        if (group, element) != _ITEM:
            return False
        place += 8 + length
        items += 1
    return place == size and items - 1 >= frames
