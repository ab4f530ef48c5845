"""A real S3 server on this machine: moto's, as a process of its own, with a log of its requests.

    python s3_server.py LOG

prints the port. A line of the log is one request as JSON. Objects whose names begin with `denied/`
answer 403; while a file LOG.tear stands there, so does the completion of an upload.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
Start = Callable[..., Any]


class Logged:
    """The server, with every request written down before it is answered."""

    def __init__(self, app: Any, log: Path) -> None:
        self.app = app
        self.log = log

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        sent: list[int] = []

        def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            sizes = [int(value) for name, value in headers if name.lower() == "content-length"]
            sent.extend(sizes if method == "GET" else [0])
            entry = {"method": method, "path": path, "status": int(status[:3])}
            entry |= {"range": environ.get("HTTP_RANGE"), "sent": sum(sent)}
            with self.log.open("ab") as file:
                file.write(orjson.dumps(entry | {"query": environ["QUERY_STRING"]}) + b"\n")
            return start(status, headers, *more)

        torn = method == "POST" and "uploadId" in environ["QUERY_STRING"]
        torn = torn and self.log.with_suffix(".tear").exists()
        if torn or path.split("/")[2:3] == ["denied"]:
            begin("403 Forbidden", [("Content-Length", str(len(DENIED)))])
            return [] if method == "HEAD" else [DENIED]
        answer: Iterable[bytes] = self.app(environ, begin)
        return answer


def main(log: Path) -> None:
    app = Logged(DomainDispatcherApplication(create_backend_app), log)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
