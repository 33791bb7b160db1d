"""A Flask application: JSON, upload, streaming, failure, threads."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, redirect, request, session, stream_with_context, url_for
from gates import pass_gate

if TYPE_CHECKING:
    from collections.abc import Iterator

app = Flask(__name__)
app.secret_key = "only for tests"

_local = threading.local()
_counting = threading.Lock()
_running = 0
_most_running = 0
_meeting = threading.Barrier(2)


@app.get("/hello")
def hello() -> str:
    return "Hello from Flask"


@app.post("/json")
def echo_json() -> tuple[Response, int]:
    return jsonify(got=request.get_json(), pid=os.getpid()), 201


@app.post("/upload")
def upload() -> dict[str, Any]:
    file = request.files["file"]
    digest = hashlib.sha256()
    size = 0
    while chunk := file.stream.read(65536):
        digest.update(chunk)
        size += len(chunk)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest(), "note": request.form.get("note")}


@app.get("/stream")
def stream() -> Response:
    @stream_with_context
    def lines() -> Iterator[str]:
        yield "first\n"
        pass_gate(request.args["gate"])  # the request is still there: that is what stream_with_context is for
        yield "last\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/endless")
def endless() -> Response:
    def blocks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 16384
        finally:
            print("endless: closed", flush=True)

    return Response(blocks(), mimetype="application/octet-stream")


@app.get("/crash")
def crash() -> str:
    raise ValueError("crash on purpose")


@app.get("/thread")
def thread() -> dict[str, Any]:
    """Which thread this is, how often it was used, and the most calls that ever ran at once."""
    global _running, _most_running
    with _counting:
        _running += 1
        _most_running = max(_most_running, _running)
    _local.calls = getattr(_local, "calls", 0) + 1
    answer = {"thread": threading.get_ident(), "calls": _local.calls, "most": _most_running}
    with _counting:
        _running -= 1
    return answer


@app.get("/meet")
def meet() -> dict[str, Any]:
    """Answers when two requests are in here at the same time; fails if they are not within 10 s."""
    place = _meeting.wait(10)
    return {"place": place, "thread": threading.get_ident()}


@app.get("/visits")
def visits() -> dict[str, Any]:
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"], "pid": os.getpid()}


@app.get("/old")
def old() -> Any:
    return redirect(url_for("where"))


@app.get("/where")
def where() -> dict[str, Any]:
    return {
        "url": url_for("where", _external=True),
        "remote": request.remote_addr,
        "script": request.script_root,
        "query": request.args.to_dict(flat=False),
    }
