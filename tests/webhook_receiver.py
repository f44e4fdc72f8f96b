"""A program elsewhere that web hooks call, and the check of signatures that the docs advise it to make."""

import base64
import json
import queue
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

SECRET = base64.b64encode(b"a secret of thirty-two bytes ...").decode()
DOCS = Path(__file__).parents[1] / "docs" / "serve.md"


@dataclass
class Receiver:
    """Keeps what it is told, and answers with the statuses it is given first.

    Attributes:
        url: beginning of what may be called.
        told: (path, headers, body) of each call.
        statuses: what to answer; 204 once they are spent.
    """

    url: str
    told: queue.Queue = field(default_factory=queue.Queue)
    statuses: list = field(default_factory=list)

    def next(self):
        """Wait for the next call; returns its headers, its body and what that says."""
        path, headers, body = self.told.get(timeout=60)
        assert path == "/hooks/done"
        return headers, body, json.loads(body)


@contextmanager
def receiving():
    """Listen on this machine until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.statuses.pop(0) if receiver.statuses else 204
            self.send_response(status)
            self.send_header("Location", "/hooks/elsewhere")
            self.end_headers()
            receiver.told.put((self.path, self.headers, body))

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hooks/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join()


def read_verifier():
    """The function that the docs advise a receiver to use."""
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "def verify" in one]
    names = {}
    exec(compile(code, "serve.md", "exec"), names)
    return names["verify"]
