"""MLflow's model server over a registered ensemble, started by `python -m fmnist_bench serve`.

What MLflow's own command leaves to a proxy: a page of somebody else in a browser of this machine reaches the server by
another name than this machine's, and is refused; a body that no parser takes is the caller's mistake; who posts an
image file is told what takes one.
"""

import argparse
import contextlib
import os
from typing import Any

import uvicorn
from fastapi import Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from mlflow import pyfunc
from mlflow.pyfunc import scoring_server
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from fmnist_bench.tracking.servers import HOST, MODEL_VARIABLE


def _make_app(model: str) -> Any:
    app = scoring_server.init(pyfunc.load_model(model))
    app.add_middleware(BaseHTTPMiddleware, dispatch=_refuse_images)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)
    for error in (RecursionError, ValueError):  # nested thousands deep; a number of thousands of digits
        app.add_exception_handler(error, _refuse)
    return app


async def _refuse_images(request: Request, call_next: RequestResponseEndpoint) -> Response:
    kind = request.headers.get("Content-Type", "")
    if not kind.startswith("image/"):
        return await call_next(request)
    taken = "rows of pixels are taken, as application/json or text/csv; /docs says how"
    message = f"{kind}: {taken}. python -m fmnist_bench predict takes image files"
    return JSONResponse({"error_code": "BAD_REQUEST", "message": message}, 415)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error_code": "BAD_REQUEST", "message": f"the body cannot be read: {error}"}, 400)


def main() -> None:
    """Load the ensemble, say where it is, answer until Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        app = _make_app(os.environ[MODEL_VARIABLE])
        address = f"http://{options.host}:{options.port}"
        print(
            f"ready: {address}/invocations takes rows of pixels, {address}/docs says how (Ctrl-C ends it)", flush=True
        )
        uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
