"""Asking a tracking store that may be slow or away: what is waited for is said, and what goes wrong is one line."""

from __future__ import annotations

import functools
import logging
import re
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from bench.text import line
from bench.tracking.errors import StoreError

log = logging.getLogger(__name__)

SAY_SECONDS = 3.0  # of silence, before it is said what is waited for
START_SECONDS = 30.0  # of waiting at the start, where nothing is lost by giving up
# What the libraries raise through which a store is asked; of one that was not read there is nothing to catch.
RAISED = (
    ("mlflow.exceptions", "MlflowException"),
    ("sqlalchemy.exc", "SQLAlchemyError"),
    ("alembic.util", "CommandError"),
)

# What to do about what the driver of a database says.
REMEDIES = (
    (r"database \"([^\"]+)\" does not exist", r"createdb \1 makes it"),
    (r"no password supplied|password authentication failed", "it is read from ~/.pgpass, or from PGPASSWORD"),
    (r"Can't locate revision", "its tables are another program's: the runs and the queue need a database each"),
    (
        r"DB access module|(No module named '|import of )psycopg",
        "pip install -e '.[postgres]' brings that of postgresql+psycopg://",
    ),
)

BYTES = "cannot use a string pattern on a bytes-like object"  # what SQLAlchemy makes of a database without an encoding
ASCII = (
    "it is encoded in SQL_ASCII, in which text is bytes; createdb --encoding=UTF8 --template=template0 NAME makes one"
)

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def answered(uri: str, ask: Callable[[], Answer], *, start: bool = False, what: str = "the tracking store") -> Answer:
    """``ask()``, which puts a question to ``what`` is at ``uri``.

    Args:
        start: give up after ``START_SECONDS``; else the answer may take as long as the store's own client gives it.

    Raises:
        StoreError: the store cannot be used, or does not answer in time.
    """
    what = f"{what} {uri}"
    if uri.startswith("sqlite:"):
        return _asked(what, ask)
    found: list[Callable[[], Answer]] = []

    def listen() -> None:
        try:
            answer = _asked(what, ask)
            found.append(lambda: answer)
        except BaseException as error:
            found.append(functools.partial(_raise, error))

    thread = threading.Thread(target=listen, daemon=True, name="asking")  # a connection that hangs cannot be broken off
    thread.start()
    thread.join(SAY_SECONDS)
    if thread.is_alive():
        most = f", for {START_SECONDS:g} s at most" if start else ""
        log.warning("%s", line(f"waiting for {what} to answer{most}"))
        thread.join(START_SECONDS - SAY_SECONDS if start else None)
    if not found:
        raise StoreError(f"{what} cannot be used: it does not answer within {START_SECONDS:g} s")
    return found[0]()


def asking(*, start: bool = False) -> Callable[[Callable[Parameters, Answer]], Callable[Parameters, Answer]]:
    """A method of an object with a ``uri``, `answered`."""

    def decorate(method: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        @functools.wraps(method)
        def ask(*args: Parameters.args, **options: Parameters.kwargs) -> Answer:
            store: Any = args[0]
            return answered(store.uri, lambda: method(*args, **options), start=start)

        return ask

    return decorate


def check_address(what: str, uri: str) -> None:
    """Refuse the address of a database whose password would be cut in two, and its second half be shown as the host; and one that
    leaves open by which driver.

    Raises:
        StoreError: it is such an address.
    """
    scheme, _, rest = uri.partition("://")
    user = rest.rpartition("@")[0]
    if not scheme.startswith("http") and re.search(r"[@/?#\[\]]", user.partition(":")[2]):
        raise StoreError(f"{what} {uri}: the password holds a sign that ends it; write @ as %40, / as %2F, ? as %3F")
    if scheme in ("postgres", "postgresql"):
        raise StoreError(
            f"{what} {uri}: which driver that means is another from version to version: postgresql+psycopg://"
        )


def first_line(error: BaseException) -> str:
    """An error in one line, without passwords; of a connection that was tried several times, what it came to in the end."""
    text = str(error).strip().partition("\n")[0]
    if cause := re.search(r"Max retries exceeded .*\(Caused by (.+)\)$", text):
        return line(cause[1])
    text = re.sub(r"^\(\w+\.\w+\) (connection failed: )?", "", text)  # as SQLAlchemy and psycopg begin
    todo = next((match.expand(what) for said, what in REMEDIES if (match := re.search(said, text))), "")
    return line("; ".join(filter(None, (text.rstrip(".") if todo else text or type(error).__name__, todo))))


def _asked(what: str, ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except Exception as error:
        if isinstance(error, TypeError) and BYTES in str(error):
            raise StoreError(f"{what} cannot be used: {ASCII}") from error
        theirs = tuple(getattr(sys.modules[module], name) for module, name in RAISED if module in sys.modules)
        if not isinstance(error, (*theirs, sqlite3.Error, OSError, ImportError, ValueError)):
            raise
        raise StoreError(f"{what} cannot be used: {first_line(error)}") from error


def _raise(error: BaseException) -> Any:
    raise error
