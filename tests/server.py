"""A server on loopback that speaks the OpenAI API with scripted replies: real HTTP, real status
codes, real faults."""

import json
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-test-key"


@dataclass
class Raw:
    """An answer byte by byte: status, headers, body; `drip_secs` between its bytes, `drop` the
    connection after it.

    `reset_after` bytes of the body the connection is reset; 0 resets it before anything is said.
    """

    status: int = 200
    body: bytes | str | dict = b""
    headers: dict = field(default_factory=dict)
    drip_secs: float = 0.0
    drop: bool = False
    reset_after: int | None = None
    hold: threading.Event | None = None  # answer only when it is set


def completion(text, *, finish_reason="stop", usage=True, **message):
    """Return a chat completion as the API writes it."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    if usage:
        answer["usage"] = {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
        }
    return answer


def error(status, message, code=None, **headers):
    """Return an error as the API writes it."""
    return Raw(
        status,
        {"error": {"message": message, "type": "error", "param": None, "code": code}},
        headers,
    )


class Listener(ThreadingHTTPServer):
    """Takes many connections at once, and says nothing of clients that have gone."""

    request_queue_size = 512

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Server:
    """Answers with the given replies in turn, the last one for ever where `for_ever` is set."""

    def __init__(self):
        self.requests = []
        self.listings = []  # requests for the list of models
        self.models = error(404, "there is no list of models here")
        self.answer = lambda request: error(
            400, "the scripted server has no reply left"
        )
        self._closing = threading.Event()
        self._lock = threading.Lock()

    def replies(self, *replies, for_ever=False):
        """Answer with these in turn: texts, dicts, or Raw."""
        left = list(replies)

        def answer(request):
            if not left:
                return error(400, "the scripted server has no reply left")
            return left[0] if for_ever and len(left) == 1 else left.pop(0)

        self.answer = answer

    def start(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else a body waits 40 ms for the acknowledgement of its head.
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = json.loads(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                with outer._lock:
                    outer.requests.append(
                        {
                            "path": self.path,
                            "headers": headers,
                            "at": time.monotonic(),
                            **request,
                        }
                    )
                    reply = outer.answer(request)
                outer._send(self, reply)

            def do_GET(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                with outer._lock:
                    outer.listings.append({"path": self.path, "headers": headers})
                    reply = outer.models
                outer._send(self, reply)

            def log_message(self, *_):
                """Say nothing."""

        self._httpd = Listener(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self._thread = threading.Thread(
            target=self._httpd.serve_forever,
            kwargs={"poll_interval": 0.05},
            daemon=True,
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._httpd.server_port}/v1"

    def stop(self):
        self._closing.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def _send(self, handler, reply):
        raw = (
            reply
            if isinstance(reply, Raw)
            else Raw(body=completion(reply) if isinstance(reply, str) else reply)
        )
        if raw.hold is not None:
            raw.hold.wait(60)
        body = json.dumps(raw.body) if isinstance(raw.body, dict) else raw.body
        data = body.encode() if isinstance(body, str) else body
        try:
            if raw.reset_after == 0:
                return reset(handler)
            handler.send_response_only(raw.status)
            size = str(len(data) + raw.drop)
            own = {
                "Date": handler.date_time_string(),
                "Content-Type": "application/json",
                "Content-Length": size,
            }
            headers = {**own, **raw.headers}
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            if raw.reset_after:
                handler.wfile.write(data[: raw.reset_after])
                return reset(handler)
            for start in range(0, len(data), 1 if raw.drip_secs else max(1, len(data))):
                handler.wfile.write(
                    data[start : start + (1 if raw.drip_secs else len(data))]
                )
                handler.wfile.flush()
                if raw.drip_secs and self._closing.wait(raw.drip_secs):
                    break
            if raw.drop:
                handler.connection.shutdown(socket.SHUT_RDWR)
                handler.close_connection = True
        except OSError:
            # The client has gone: that is what some tests are about.
            handler.close_connection = True
        return None


def reset(handler):
    """Break the connection off, as a machine does that goes down."""
    handler.wfile.flush()
    handler.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    handler.connection.close()
    handler.close_connection = True
