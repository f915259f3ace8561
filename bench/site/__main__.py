"""The process that serves, begun by `bench ui`: ``python -m bench.site --host HOST --port PORT``.

What runs are tracked where is read from the working directory and the environment, as every command does: an address can hold a
password, and arguments can be read by everybody on the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.paths import Paths
from bench.site import index, reports
from bench.tracking.database import address
from bench.tracking.server import serve


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m bench.site", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    paths = Paths.find(Path.cwd())
    pages = {
        "/": lambda rest: index.page(paths),
        "/index.css": lambda rest: index.style(),
        "/opening.js": lambda rest: index.script(paths),
        "/reports/": lambda rest: reports.file(paths, rest),
    }
    serve(address(paths.store, paths.tracking), given.host, given.port, pages, script="/opening.js")


if __name__ == "__main__":
    main()
