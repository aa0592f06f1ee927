"""A web server in four processes on one port: each worker listens by itself (SO_REUSEPORT).

Run: supervisor run examples.web:tree        then, elsewhere: curl http://127.0.0.1:8080/
See: answers from different processes; `supervisor tree`, then kill -9 any of them, and curl again.
"""

import os
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

from supervisor import Child, Supervisor

PORT = int(os.environ.get("PORT", "8080"))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello from {os.getpid()}\n".encode())


class Server(HTTPServer):
    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def serve() -> None:
    Server(("127.0.0.1", PORT), Handler).serve_forever()


tree = Supervisor("web", [Child("server", serve, count=4, ready=f"tcp:{PORT}")])
