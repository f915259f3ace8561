"""Zip archives that are not what they say."""

from __future__ import annotations

import functools
import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping

MORE = 3 * 2**30  # bytes of zeros: more than a reader here may take
# Where the packing, the CRC and both sizes stand, in the entry before a member and in the directory at the end (APPNOTE 4.3).
BEFORE, AT_THE_END = {"packing": 8, "sizes": 14}, {"packing": 10, "sizes": 16}


def zipped(members: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED, *, twice: str = "") -> bytes:
    """An archive of ``members``; one of them may be in it twice."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packing) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in [*members, *([twice] if twice else [])]:
            archive.writestr(name, members[name])
    return content.getvalue()


def lying(content: bytes, draw: random.Random) -> bytes:
    """An archive that says something else of one of its members' sizes, CRC or packing, at its end or in both places."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = draw.choice(archive.namelist())
        info = archive.getinfo(name)
    told = [info.CRC, info.compress_size, info.file_size]
    told[draw.randrange(3)] = draw.choice((0, 1, 10, 2**20, 2**31, 2**32 - 2))
    return _told(content, name, told, draw.choice((0, 8, 8, 8, 99)), both=draw.random() < 0.5)


def bomb(members: Mapping[str, bytes], name: str, draw: random.Random) -> bytes:
    """An archive with a member that goes on with three gibibytes of zeros, and says so or does not."""
    start = members[name]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH) + 12 * _zeros() + b"\x03\0"
    content = zipped({**members, name: body}, zipfile.ZIP_STORED)
    told = len(start) + MORE * (draw.random() < 0.1)  # to read all of them takes seconds
    return _told(content, name, [zlib.crc32(start), len(body), told], zipfile.ZIP_DEFLATED, both=True)


@functools.cache
def _zeros() -> bytes:
    """A quarter of a gibibyte of zeros, deflated, as blocks that go with any others."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [squeeze.compress(bytes(2**24)) for _ in range(16)]
    return b"".join([*parts, squeeze.flush(zlib.Z_FULL_FLUSH)])


def _told(content: bytes, name: str, told: list[int], packing: int, *, both: bool) -> bytes:
    """``content`` that says CRC, packed size and size ``told`` of a member."""
    found = bytearray(content)
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    before = struct.unpack("<I", content[place + 42 : place + 46])[0]
    for start, where in ((place, AT_THE_END), (before, BEFORE))[: 1 + both]:
        found[start + where["packing"] : start + where["packing"] + 2] = struct.pack("<H", packing)
        found[start + where["sizes"] : start + where["sizes"] + 12] = struct.pack("<III", *told)
    return bytes(found)
