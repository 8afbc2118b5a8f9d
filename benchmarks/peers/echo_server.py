"""The server's own protocol around an application that sends back what it reads: ``python echo_server.py PORT``."""

import sys
from typing import Any

import uvicorn

from fti_assets.inference.server.service import Settings, http_config


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


uvicorn.Server(http_config(Settings(names=(), port=int(sys.argv[1])), echo)).run()
