"""MLflow's own server, with pages of ours before it: on its port, and behind its check of who may ask."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.tracking import hush

UI = "/mlflow"  # MLflow's own page; relative to it, everything that it asks for lies where it lay before
# Who is logged in, which the UI asks of any server: one that knows of no logging in would have it report an error.
NOBODY = "/ajax-api/2.0/mlflow/users/current"


@dataclass(frozen=True)
class Answer:
    """What a browser is told: a page, a script, a picture.

    Attributes:
        policy: what the page may do, as a Content-Security-Policy.
        status: of HTTP; 404 with a line for whoever reads it.
    """

    content: bytes
    kind: str = "text/html; charset=utf-8"
    policy: str = "default-src 'none'"
    status: int = 200
    more: Mapping[str, str] = field(default_factory=dict)


Page = Callable[[str], Answer]
"""From the rest of the path to what is there."""


def serve(uri: str, host: str, port: int, pages: Mapping[str, Page], script: str) -> None:
    """Serve MLflow's UI on the runs at ``uri``, and ``pages`` by their path, until a signal ends it.

    Args:
        pages: one whose path ends in a slash answers for all that lies below it, too.
        script: the path of the page that MLflow's runs before its own.
    """
    from mlflow.server import constants

    hush()
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's server stands on what Starlette is about to give up
        import uvicorn
        from mlflow.server import app as flask
        from mlflow.server.fastapi_app import app
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def told(page: Page) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            found = page(request.path_params.get("rest", ""))
            headers = {"content-security-policy": found.policy, "cache-control": "no-cache", **found.more}
            return Response(found.content, found.status, headers, found.kind)

        return answer

    def ui(request: Request) -> Response:
        text = (Path(str(flask.static_folder)) / "index.html").read_text(encoding="utf-8")
        head = f'<head><script src="{script.removeprefix("/")}"></script>'
        return Response(text.replace("<head>", head, 1), 200, {"cache-control": "no-cache"}, "text/html")

    routes = [Route(UI, ui), Route(NOBODY, lambda request: JSONResponse({}))]
    for path, page in pages.items():
        routes.append(Route(path + "{rest:path}" if path.endswith("/") and path != "/" else path, told(page)))
    app.router.routes[:0] = routes
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)
