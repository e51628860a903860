"""The part of `aiohttp.web` that the server uses, under the same names.

`aiohttp.web` also loads applications, their router, websockets and static files, which are a twentieth of a start.
"""

from aiohttp.helpers import RequestKey
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

__all__ = ["BaseRequest", "RequestHandler", "RequestKey", "RequestPayloadError", "Server", "StreamResponse"]
