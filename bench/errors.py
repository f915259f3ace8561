"""What can go wrong with studies, data, models and measures, for those who only tell it: torch is not read for this."""

from __future__ import annotations

from bench.text import line


class StudyError(Exception):
    """A study that cannot run as written: one line naming the file, the key, the wrong value and the right ones."""

    def __init__(self, message: str) -> None:
        super().__init__(line(message))


class DataError(Exception):
    """A data set that cannot be had: one line that says what is wrong, where, and what would be right."""


class Unsupported(ValueError):
    """A combination that cannot work (a conditional model on unlabelled images, say), refused before training."""


class Unmeasurable(Exception):
    """A metric that cannot be taken of this model or here; the message becomes the reason beside the blank."""


class BrokenModel(Exception):
    """A model that does otherwise than `bench.contract.Model` says: what it does and must do, on one line without its place."""

    def __init__(self, message: str) -> None:
        super().__init__(line(message))


class Diverged(Exception):
    """A loss term or an image left the finite numbers; the message names it."""


def interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C of which an error is what a library made that it met halfway: a session that cannot be rolled back, say."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, KeyboardInterrupt):
        link = link.__context__
    return link
