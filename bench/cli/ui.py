"""`bench ui`: the tracked studies at a glance, and MLflow's UI without the services that a local look does not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from bench.cli.common import UsageLine, one_line
from bench.cli.names import completing, examples
from bench.cli.place import surroundings
from bench.text import line, printable, reason

if TYPE_CHECKING:
    import subprocess

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Under what names a browser may ask for the pages, as MLflow matches them: any other is a site that has its own name lead here.
OWN_NAMES = ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "[::1]", "[[]::1]:*")
PATIENCE = 5.0  # seconds that the server has to end in


@click.command(epilog=examples("bench ui", "bench ui latent_dim --port 5001"))
@click.argument("study", required=False, shell_complete=completing("studies"))
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="There is no login: think before opening it to others."
)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Where it listens.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which others ask for the pages; repeatable. Default: this machine's own, or private addresses.",
)
def ui(study: str | None, host: str, port: int, allowed_hosts: tuple[str, ...]) -> None:
    """Serve the tracked studies and MLflow's UI, printing the links to STUDY's saved views."""
    import os
    import sys

    from bench.registry import unknown
    from bench.site.opening import make_ready
    from bench.study.catalogue import catalogue
    from bench.tracking.lookup import studies
    from bench.tracking.names import DATABASE
    from bench.tracking.server import UI
    from bench.tracking.store import Store
    from bench.tracking.views import links

    with one_line():
        paths = surroundings()
        if paths.tracking and paths.tracking.startswith("http"):
            raise UsageLine(f"runs are tracked by a server; open {paths.tracking} in a browser")
        if not paths.tracking and not (paths.store / DATABASE).exists():
            raise UsageLine(f"nothing is tracked in {paths.store} yet; begin with: bench run study latent_dim")
        names = studies(paths.store, paths.tracking)
        if study is not None and study not in names:
            raise UsageLine(unknown("tracked study", study, names) if names else f"no tracked study {study!r}, nor any")
        _check_free(host, port)
        known = catalogue()
        place = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        click.echo(f"all studies: {place}/")
        for name in names:
            store = Store(paths.store, paths.tracking, name, "", create=False)
            make_ready(paths, known, store)
            datasets = dict.fromkeys(record.trial.dataset for record in store.records().values())
            for link in (link for dataset in datasets if study in (None, name) for link in links(store, dataset)):
                click.echo(printable(f"{name}, {link.name}: {place}{UI}{link.path}"))
    # MLflow's job services cost five times the memory and time, and serve nothing here. The store's address is no argument of
    # the server, which everybody on the machine may read: it can hold a password.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    if allowed := [*(OWN_NAMES if host in LOOPBACK or allowed_hosts else ()), *allowed_hosts]:
        environment.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", ",".join(allowed))
    server = [sys.executable, "-m", "bench.site", "--host", host, "--port", str(port)]
    if (status := _serve(server, environment)) is not None:
        raise click.ClickException(f"MLflow's server ended with exit status {status}")


def _check_free(host: str, port: int) -> None:
    """Refuse a place that cannot be listened on, which MLflow would tell in a traceback and end as if all were well."""
    import socket

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except (OSError, ValueError) as error:
        place = line(f"port {port} of {host!r}")
        raise click.ClickException(f"{place} cannot be listened on: {reason(error)}; choose another --port") from None


def _serve(command: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Run the server until it ends, and give its exit status; or until this process is told to end, with all that it started."""
    import signal
    import subprocess

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # A group of its own: MLflow starts further processes, which a signal to the first does not reach.
    process = subprocess.Popen(command, env=environment, process_group=0)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        return process.wait()
    except KeyboardInterrupt:
        return None
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # the end is on its way
        _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: asked first, then made to."""
    import contextlib
    import os
    import signal
    import time

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            time.sleep(0.05)
            process.poll()  # what has ended and was not waited for would stay in the group
            os.killpg(process.pid, 0)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
