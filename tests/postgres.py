"""A PostgreSQL server of one's own: on the loopback address and a socket, with a password, and gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PASSWORD = "s3cret"
USER = "bench"
OTHER = "postgres"  # who runs it where root would, whom it refuses


def programs() -> Path | None:
    """Where PostgreSQL's own programs lie; None where they do not, or nobody may run them."""
    here = shutil.which("initdb")
    found = [Path(here).parent] if here else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found and (os.getuid() or OTHER in _users()) else None


class Postgres:
    """A server with its files in a folder that is its user's.

    Attributes:
        port: on the loopback address.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        """``options`` are settings as ``name=value``."""
        self.folder = folder
        self.options = options
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        found = programs()
        assert found is not None
        self._programs = found

    def make(self, *databases: str) -> None:
        """Make it, start it, and make databases in it."""
        if not os.getuid():
            shutil.chown(self.folder, OTHER, OTHER)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        made = ("-D", f"{self.folder}/data", "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}")
        self._call("initdb", *made, "--encoding=UTF8", "--locale=C", "--no-sync")
        self.start()
        for database in databases:
            self.sql(f"create database {database}", "postgres")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ("listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}")
        options = " ".join(f"-c {setting}" for setting in (*settings, *self.options))
        self._call("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options, "-w", "start")

    def stop(self) -> None:
        """End it, and every connection to it."""
        self._call("pg_ctl", "-D", f"{self.folder}/data", "-m", "fast", "-w", "stop")

    def address(self, database: str, password: str = "") -> str:
        """Of a database, as SQLAlchemy wants it."""
        return f"postgresql+psycopg://{USER}{password and ':'}{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, command: str, database: str) -> list[tuple[Any, ...]]:
        """The rows of a command's answer, if it has any."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def _call(self, program: str, *words: str) -> None:
        log = self.folder / f"{program}.txt"
        with log.open("a") as said:  # a pipe would be held open by the server
            ended = subprocess.run(
                [self._programs / program, *words],
                cwd=self.folder,
                user=None if os.getuid() else OTHER,
                group=None if os.getuid() else OTHER,
                extra_groups=None if os.getuid() else [],
                stdout=said,
                stderr=said,
            )
        if ended.returncode:
            raise RuntimeError(f"{program}: {log.read_text()[-2000:]}")


@contextmanager
def postgres(*databases: str, options: tuple[str, ...] = ()) -> Iterator[Postgres]:
    """A server that runs, with these databases."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # which its user may enter; a socket's path is short
    server = Postgres(folder, *options)
    try:
        server.make(*databases)
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder)


def _users() -> list[str]:
    import pwd

    return [each.pw_name for each in pwd.getpwall()]
