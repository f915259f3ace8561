"""Text that comes from outside: names that become paths, messages of one line, and passwords that stand in none of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
NAME_RULE = "letters, digits, '.', '_' and '-', not a '.' first, at most 100"
CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
LONGEST_WORD = 250  # characters without a blank that are shown whole: what the name of a file can have
LONGEST_LINE = 2000
MOST_DOTS = 10_000  # in a line of TOML: names within names take the square of their number to be read
DEEPEST = 50  # tables and lists within one another

USER = re.compile(r"(?<=://)[^\s/]\S*@")  # up to the last @: one in a password may stand there as it is
NO_PORT = re.compile(r"(?<=://)([^\s:/@\[]*):(?!\d+(?:[^\w@]|$)|\*\*\*)[^\s/'\"]+")
# Backslashes and what can begin markup anywhere; _ within a word is no emphasis, & begins an entity, : an emoji of GitHub's.
MARKUP = re.compile(r"[\\`*\[|~$]|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|:(?=[\w+-]+:)")
TOO_DEEP = "its lists or tables lie too deep in one another"
IN_QUERY = re.compile(r"([?&;][^=&;\s]*(?:pass|pwd|secret|token|key)[^=&;\s]*=)[^&;\s'\"]+", re.IGNORECASE)


def is_name(text: str) -> bool:
    """Whether a text is as ``NAME_RULE`` says."""
    return NAME.fullmatch(text) is not None


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b`` or ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


class BadName(ValueError):
    """A name that is none; the message is one line."""


def named(kind: str, text: str) -> str:
    """``text``, the name of a ``kind``: of a study, a component or a data set, all of which become paths.

    Raises:
        BadName: it is not as ``NAME_RULE`` says.
    """
    if not is_name(text):
        raise BadName(line(f"{kind} {text!r}: a name must be {NAME_RULE}"))
    return text


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text such as people and the suite write.

    Raises:
        ValueError: it is none, or one that takes hours to be read, or lies deeper than what handles it can follow.
    """
    if (dots := max((row.count(".") for row in text.split("\n")), default=0)) > MOST_DOTS:
        raise ValueError(f"a line of it has {dots:,} dots, and one has at most {MOST_DOTS:,}")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    level: list[Any] = [tables]
    for _ in range(DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
    if level:
        raise ValueError(TOO_DEEP)
    return tables


def is_plain(text: str) -> bool:
    """Whether a text is UTF-8 in one line: no control characters, and nothing that a file's name can hold but no text."""
    return not CONTROLS.search(text)


def printable(text: str) -> str:
    """A text whose line breaks, colours and other signs that are not printed are shown as Python writes them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def line(text: object) -> str:
    """A text as one line that can be shown: `printable`, without passwords, what is endless cut."""
    shown = printable(without_passwords(_cut(str(text), 10 * LONGEST_LINE)))
    return _cut(re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _cut(word[0], LONGEST_WORD), shown), LONGEST_LINE)


def reason(error: BaseException) -> str:
    """What an exception says, on one line."""
    return line(" ".join(str(error).split()) or type(error).__name__)


def without_passwords(text: str) -> str:
    """A text whose addresses name no user and no password: ``http://me:secret@host`` is shown as ``http://***@host``."""
    return IN_QUERY.sub(r"\1***", NO_PORT.sub(r"\1:***", USER.sub("***@", text)))


def escaped(text: str) -> str:
    """A text as Markdown, in a line or in a cell, that shows it as it is: no sign in it means anything.

    CommonMark 0.31.2, section 2.4: any sign of ASCII may follow a backslash. Those are escaped that could mean something where
    they stand, there and in GitHub's additions: HTML begins with ``<``, a list, a heading or a quotation with a line.
    """
    shown = MARKUP.sub(r"\\\g<0>", printable(" ".join(text.split())))
    return re.sub(r"^(\d{0,9})([.)](?=\s|$)|#(?=[#\s]|$)|[-+](?=[-\s]|$)|>)", r"\1\\\2", shown)


def _cut(text: str, most: int) -> str:
    """The beginning and the end of a text that is longer, and how long it is."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}...({len(text):,} characters)...{text[-most // 4 :]}"
