"""What can go wrong with what is remembered, for those who only tell it: MLflow is not read for this."""

from __future__ import annotations

from bench.text import line


class StoreError(Exception):
    """The tracking store cannot be used: one line that says which, why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(line(message))
