"""A scripted model behind OpenAI's /v1/chat/completions: streamed or whole, tool calls, usage.

    python -m clawbus.demo.model --port N [--log FILE]      or      with ScriptedModel() as model: model.url

Only the model is played here; the gateway, its tools and the bus around it are real. Each request leaves one
line in the log (JSONL) and in `turns`: who asked, for which task, what was decided, and whether it was the
first request of its turn. Token counts are a quarter of the characters: this model has no tokenizer.
"""

from __future__ import annotations

import argparse
import json
import math
import select
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from clawbus.demo.model import openai_format as wire
from clawbus.demo.model.brain import answer
from clawbus.demo.model.conversation import Turn, read_turn
from clawbus.demo.model.plans import Decision
from clawbus.errors import InvalidInput, Missing

_MAX_REQUEST_BYTES = 64 * 1024 * 1024


class ScriptedModel:
    """The server, on loopback. Port 0 takes a free one. Raises Missing if the port is in use.

    `pace_s` is how long it thinks before each answer. `turns` holds one entry per request, in order; `gone` among them
    means that the client went away first.
    """

    def __init__(self, port: int = 0, log: Path | None = None, pace_s: float = 0.0) -> None:
        self.turns: list[dict[str, Any]] = []
        self._log = log
        self.pace_s = pace_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise Missing(f"port {port} for the scripted model: {error.strerror}", "Choose another port.") from None
        self._server.model = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The base URL for a provider's configuration."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and end what waits. Calling it twice is fine."""
        self._closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def record(self, entry: dict[str, Any]) -> None:
        entry = {"at": datetime.now(UTC).isoformat(), **entry}
        with self._lock:
            self.turns.append(entry)
            if self._log:
                with self._log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(entry) + "\n")

    def wait(self, seconds: float, client: socket.socket) -> bool:
        """Wait so long. False, at once, if the client goes away or the server closes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._closing.is_set():
                return False
            readable, _, _ = select.select([client], [], [], min(left, 0.05))
            if readable and _is_closed(client):
                return False
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    model: ScriptedModel

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours; anything else shows itself."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: the log is `turns`."""

    def do_GET(self) -> None:
        known = self.path.rstrip("/") == "/v1/models"
        self._json(200, {"object": "list", "data": [{"id": wire.NAME, "object": "model"}]}) if known else self._json(
            404, wire.error(f"nothing at {self.path}")
        )

    def do_POST(self) -> None:
        try:
            request = self._read()
        except InvalidInput as error:
            self.close_connection = True
            return self._json(400, wire.error(str(error)))
        turn = read_turn(request)
        decision = answer(turn)
        model = self.server.model
        model.record(_entry(turn, decision))
        if not model.wait(decision.pause_s + model.pace_s, self.connection):
            model.record({"session": turn.session, "decision": "gone"})
            self.close_connection = True
            return None
        if decision.error:
            said = {"message": "the script said @fail", **decision.error.body}
            return self._json(decision.error.status, wire.error(**said))
        usage = wire.usage(request, decision)
        if request.get("stream"):
            return self._stream(decision, usage)
        return self._json(200, wire.whole(decision, usage))

    def _read(self) -> dict[str, Any]:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _MAX_REQUEST_BYTES:
            raise InvalidInput("content-length", length, "missing or too large")
        try:
            request = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise InvalidInput("body", "", f"not JSON: {error}") from None
        if self.path != "/v1/chat/completions" or not isinstance(request, dict):
            raise InvalidInput("path", self.path, "only chat completions are served")
        return request

    def _json(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, decision: Decision, usage: dict[str, int]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in wire.events(decision, usage):
            self.wfile.write(f"data: {event}\n\n".encode())
            self.wfile.flush()


def _entry(turn: Turn, decision: Decision) -> dict[str, Any]:
    call = decision.call
    return {
        "agent": turn.agent,
        "session": turn.session,
        "task": turn.task.id if turn.task else None,
        "results": [result.id for result in turn.results],
        "first": turn.fresh,
        "decision": "call" if call else "fail" if decision.error else "reply",
        "tool": call.tool if call else None,
        "pause_s": None if math.isinf(decision.pause_s) else decision.pause_s,
    }


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except ConnectionError:
        return True


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted; prints the URL first."""
    parser = argparse.ArgumentParser(prog="python -m clawbus.demo.model", description="The scripted model.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds to think before each answer")
    options = parser.parse_args(arguments)
    with ScriptedModel(options.port, options.log, options.pace) as model:
        print(model.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
