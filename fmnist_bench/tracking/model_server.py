"""MLflow's model server over a registered ensemble: an ASGI app for uvicorn, started by `python -m fmnist_bench serve`.

What MLflow's own command leaves to a proxy: a page of somebody else in a browser of this machine reaches the server by
another name than this machine's, and is refused; a body that no parser takes is the caller's mistake.
"""

import os
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from mlflow import pyfunc
from mlflow.pyfunc import scoring_server
from starlette.middleware.trustedhost import TrustedHostMiddleware

from fmnist_bench.tracking.servers import HOST, MODEL_VARIABLE

__all__ = ["app"]


def _make_app(model: str) -> Any:
    app = scoring_server.init(pyfunc.load_model(model))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    for error in (RecursionError, ValueError):  # nested thousands deep; a number of thousands of digits
        app.add_exception_handler(error, _refuse)
    return app


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error_code": "BAD_REQUEST", "message": f"the body cannot be read: {error}"}, 400)


app = _make_app(os.environ[MODEL_VARIABLE])
