"""`bench ui`: the MLflow UI on the tracked runs, without the services that a local look does not need."""

from __future__ import annotations

import click

from bench.cli.common import UsageLine, one_line, surroundings


@click.command()
@click.argument("study", required=False)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="There is no login: think before opening it to others."
)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def ui(study: str | None, host: str, port: int) -> None:
    """Serve the MLflow UI, printing the link to STUDY's curves and pictures."""
    import os
    import subprocess
    import sys

    from bench.tracking.store import DATABASE, Store, address, studies

    with one_line():
        paths = surroundings()
        if paths.tracking and paths.tracking.startswith("http"):
            raise UsageLine(f"runs are tracked by a server; open {paths.tracking} in a browser")
        if not paths.tracking and not (paths.store / DATABASE).exists():
            raise UsageLine(f"nothing is tracked in {paths.store} yet; begin with: bench run study latent_dim")
        names = studies(paths.store, paths.tracking)
        if study is not None and study not in names:
            raise UsageLine(f"no tracked study {study!r}; there are: {', '.join(names) or 'none'}")
        for name in [study] if study else names:
            store = Store(paths.store, paths.tracking, name, "", create=False)
            click.echo(f"{name}: http://{host}:{port}{store.link()}")
        uri = address(paths.store, paths.tracking)
    # MLflow's job services and further workers cost five times the memory and time, and serve nothing here.
    slim = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    server += ["--host", host, "--port", str(port), "--workers", "1"]
    try:
        status = subprocess.run(server, env={**os.environ, **slim}, check=False).returncode
    except KeyboardInterrupt:
        return
    if status:
        raise click.ClickException(f"MLflow's server ended with exit status {status}; is port {port} in use?")
