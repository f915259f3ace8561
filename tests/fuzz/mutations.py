"""How input goes wrong: bytes that flip, vanish and come twice; values that nobody meant; files that are none."""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

NUMBERS: list[Any] = [
    *(-1, 0, 1, 3, 10_000_000, -(2**63), 2**31, 2**53, 2**63 - 1, 2**63, 10**30, 10**400),
    *(0.0, -0.0, 0.5, -1e-9, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
]
TEXTS: list[Any] = [
    *("", " ", "x", "vae", "digits", "test_loss", "x" * 300, "x" * 5000, "a\nb", "\0", "\x1b[31m", "\u202e"),
    *("..", "../..", "/etc/passwd", "~", "a/b", "-h", "[/red]", "[bold]", ":bug:", "<script>", "${HOME}", "%s", "{}"),
    *(
        "{0}",
        "# a",
        "```",
        "|",
        "$\\frac{",
        "é",
        "多",
        "\U0001f41b",
        "nan",
        "1e-3",
        "http://me:s3cret@host",
        "__proto__",
    ),
]
LISTS: list[Any] = [
    *([], [[]], [1], [-1], [1, "a"], [0.9, 0.99], [0.9, 0.99, 0.999], ["a", "a"], list(range(300)), [1e300, 1e300]),
    *([{}], [{"name": "a"}, {"name": "a"}]),
]
TABLES: list[Any] = [
    *({}, {"a": 1}, {"low": 1, "high": 0}, {"low": 1e-5, "high": 1e-2, "log": True}, {"learning_rate": -1}),
]
HOSTILE: list[Any] = [*(True, False, datetime.date(2026, 1, 1), datetime.time(1, 2), *NUMBERS, *TEXTS, *LISTS, *TABLES)]


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Bytes with one to four accidents, more of them near the beginning, where formats say what follows."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(found)
        places = draw.randrange(size + 1), draw.randrange(size + 1)
        place = min(places) if draw.random() < 0.5 else places[0]
        length = draw.choice((1, 2, 4, 8, 64, 1000))
        match draw.randrange(8):
            case 0 if place < size:
                found[place] ^= 1 << draw.randrange(8)
            case 1 if place < size:
                found[place] = draw.choice((0, 1, 127, 128, 255))
            case 2:
                del found[place : place + length]
            case 3:
                found[place:place] = draw.randbytes(length)
            case 4:
                found[place:place] = found[place : place + length] * draw.choice((1, 2, 50))
            case 5:
                del found[place:]
            case 6:
                found[place : place + length] = bytes(length)
            case _:
                number = draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1))
                found[place : place + 4] = number.to_bytes(4, draw.choice(("big", "little")))
    return bytes(found)


def changed(tables: Any, draw: random.Random) -> Any:
    """Tables, of TOML or JSON, in which one to three values, keys or items are others, gone, more or elsewhere."""
    found = copy.deepcopy(tables)
    for _ in range(draw.choice((1, 1, 2, 3))):
        _change(found, draw)
    return found


def _change(tables: Any, draw: random.Random) -> None:
    places = list(_places(tables))
    holder, key = draw.choice(places) if places else (tables, None)
    if key is None:
        if isinstance(holder, dict):
            holder["x"] = hostile(draw)
        return
    match draw.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[draw.choice(("x", "a\nb", "x" * 5000, "../x", "", "learning_rate", "é"))] = holder.pop(key)
        case 2 if isinstance(holder, dict):
            holder[draw.choice(("x", "vae", "epochs", "mnist", "training", "", "__class__"))] = hostile(draw)
        case 3:
            holder[key] = [holder[key]] * draw.choice((1, 2, 3))
        case 4:
            other, name = draw.choice(places)
            holder[key] = copy.deepcopy(other[name]) if name is not None and name in _keys(other) else hostile(draw)
        case _:
            holder[key] = hostile(draw)


def hostile(draw: random.Random) -> Any:
    """A value that nobody meant."""
    value = copy.deepcopy(draw.choice(HOSTILE))
    for _ in range(draw.choice((0, 0, 0, 0, 1, 30))):
        value = [value]
    return value


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def _places(tables: Any) -> Iterator[tuple[Any, Any]]:
    """Every ``(holder, key)`` in nested tables and lists."""
    if isinstance(tables, (dict, list)):
        for key in _keys(tables):
            yield tables, key
            yield from _places(tables[key])


def as_json(tables: Any) -> bytes:
    """Tables as JSON, what it has no word for as a text."""
    return json.dumps(tables, default=str).encode(errors="backslashreplace")


def remove(path: Path) -> None:
    """Whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def displaced(path: Path, draw: random.Random, *, large: bool = True) -> None:
    """Something else in the place of a file, or an empty one."""
    remove(path)
    match draw.randrange(6 + large):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            path.symlink_to(path.name)
        case 4:
            path.symlink_to("/nowhere")
        case 5:
            path.touch()
        case _:
            path.touch()
            os.truncate(path, 2**41)


def mutated_toml(tables: dict[str, Any], draw: random.Random) -> bytes:
    """Tables with other values as TOML, or their text with other bytes where TOML has no words for them."""
    with contextlib.suppress(TypeError, ValueError):
        return tomli_w.dumps(changed(tables, draw)).encode(errors="surrogatepass")
    return flipped(tomli_w.dumps(tables).encode(), draw)
