"""A chat server that answers as vLLM, llama.cpp, Ollama and hosted services do, or misbehaves on demand.

Its answers are a function of the pictures and questions, `truth`, so that a test can tell whose they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

KINDS = ("vllm", "llama.cpp", "ollama", "hosted", "objects", "plain", "chatty")
TOKENS = {"vllm", "llama.cpp"}  # those that give probabilities
BAD_ANSWERS = ("prose", "types", "range", "other id", "more keys", "twice", "nan", "empty", "cut json")
FAULTS = ("500", "503", "429", "408", "reset", "cut body", "slow")
SECRET = "sk-a-very-secret-key"


def truth(*about: str) -> float:
    """A number in (0, 1) that belongs to pictures and text, with three digits."""
    return (int(hashlib.sha256("|".join(about).encode()).hexdigest(), 16) % 997 + 1) / 1000


class Refusal(Exception):
    """An HTTP error that the server gives on purpose."""


class State:
    """What a server was asked, and how it misbehaves: `fault(number of the request, body)` names a fault or "".

    Args:
        kind: one of `KINDS`.
        fault: decides about each request that is no probe.
        key: that it wants; empty for none.
    """

    def __init__(self, kind: str, fault: Callable[[int, dict[str, Any]], str], key: str) -> None:
        self.kind, self.fault, self.key = kind, fault, key
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()  # by Idempotency-Key
        self.running, self.most_running = 0, 0
        self.lock, self.stopping = Lock(), Event()
        self.url = ""

    @property
    def asked(self) -> int:
        """Requests so far that were no probes."""
        return sum(not is_probe(body) for body in self.bodies)


@contextmanager
def serving(
    kind: str = "vllm", *, fault: Callable[[int, dict[str, Any]], str] = lambda number, body: "", key: str = ""
) -> Iterator[State]:
    """A server until the end of the block."""
    state = State(kind, fault, key)

    class Bound(Handler):
        shared = state

    server = Quiet(("127.0.0.1", 0), Bound)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(ThreadingHTTPServer):
    """Threads end with the block, and clients that hang up are no news."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """Say nothing."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    shared: State

    def log_message(self, format, *args):
        """Say nothing."""

    def do_POST(self):
        """Answer one request."""
        state = self.shared
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            number = state.asked
            state.bodies.append(body)
            state.headers.append(dict(self.headers))
            state.running += 1
            state.most_running = max(state.most_running, state.running)
        try:
            wrong = "" if is_probe(body) else state.fault(number, body)
            with state.lock:
                state.faults[wrong] += bool(wrong)
            self.reply_to(body, wrong)
        finally:
            with state.lock:
                state.running -= 1

    def reply_to(self, body: dict[str, Any], wrong: str) -> None:
        """Answer, or fail in the way that is asked for."""
        state = self.shared
        if wrong in ("500", "503", "429", "408"):
            after = {"Retry-After": "0.05"} if wrong == "429" else {}
            return self.send(int(wrong), error(f"no luck, {self.headers.get('Authorization')}"), after)
        if wrong == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return None
        if wrong == "slow":
            state.stopping.wait(3)
        elif wrong.startswith("wait "):
            time.sleep(float(wrong.removeprefix("wait ")))
        elif wrong.startswith("HTTP "):
            status, _, seconds = wrong.removeprefix("HTTP ").partition(" ")
            return self.send(int(status), error("as told"), {"Retry-After": seconds} if seconds else {})
        if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
            return self.send(401, error(f"Incorrect API key provided: {self.headers.get('Authorization')}"))
        try:
            text = json.dumps(answer(state.kind, body, wrong))
        except Refusal as refusal:
            return self.send(400, error(str(refusal)))
        with state.lock:
            state.answered[self.headers["Idempotency-Key"]] += 1
        return self.send(200, text, cut=wrong == "cut body", drip=wrong == "drip")

    def send(
        self, status: int, text: str, more: dict[str, str] | None = None, cut: bool = False, drip: bool = False
    ) -> None:
        """Write a response; with `cut`, only the first half of it; with `drip`, byte by byte."""
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for place in range(len(data) if drip else 0):
            self.wfile.write(data[place : place + 1])
            if self.shared.stopping.wait(0.05):
                return
        self.wfile.write(b"" if drip else data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut


def error(message: str) -> str:
    """The body of an error."""
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}})


def is_probe(body: dict[str, Any]) -> bool:
    """Whether a request only asks what the server can do."""
    return "Is a square round?" in words_of(body)


def words_of(body: dict[str, Any]) -> str:
    """All text of the user's messages."""
    parts = [m["content"] for m in body["messages"] if m["role"] == "user"]
    lists = ([{"text": part}] if isinstance(part, str) else part for part in parts)
    return "\n".join(part["text"] for inner in lists for part in inner if "text" in part)


def pictures_of(body: dict[str, Any]) -> list[str]:
    """The data URIs of a request."""
    lists = [m["content"] for m in body["messages"] if isinstance(m["content"], list)]
    return [part["image_url"]["url"] for parts in lists for part in parts if part["type"] == "image_url"]


def refuse_fields(kind: str, body: dict[str, Any]) -> None:
    """Raise Refusal for what a kind of server does not take."""
    structure = body.get("response_format", {}).get("type")
    if kind == "vllm" and "reasoning_effort" in body:
        raise Refusal("[{'loc': ('body', 'reasoning_effort'), 'msg': \"Input should be 'low', 'medium' or 'high'\"}]")
    if kind == "hosted":
        for name in ("chat_template_kwargs", "max_tokens", "temperature", "logprobs"):
            if name in body:
                raise Refusal(f"Unsupported parameter: '{name}' is not supported with this model.")
    if kind == "objects" and structure == "json_schema":
        raise Refusal("This response_format type is unavailable now")
    if kind == "plain" and structure:
        raise Refusal("bad request")  # does not say why


def answer(kind: str, body: dict[str, Any], wrong: str) -> dict[str, Any]:
    """The body of a response; raises Refusal for what this kind of server does not take."""
    refuse_fields(kind, body)
    used = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
    if body.get("logprobs") and kind in TOKENS:
        first, second, p = chosen(body)
        tops = tokens(first, second, p, wrong)
        message = {"role": "assistant", "content": tops[0]["token"]}
        entry = {"token": tops[0]["token"], "logprob": tops[0]["logprob"], "top_logprobs": tops}
        choice = {"index": 0, "message": message, "logprobs": {"content": [entry]}, "finish_reason": "length"}
        return {"id": "chatcmpl-1", "choices": [choice], "usage": used}
    structure = body.get("response_format", {}).get("type", "text")
    text = written(fields(body), body, wrong) if "in this form" in words_of(body) else "No."
    if kind == "chatty" and structure != "text":
        text = f"Sure! Here it is: {text}"
    if kind == "plain":
        text = f"<think>Let me see: 3 or 4?</think>\n```json\n{text}\n```"
    message = {"role": "assistant", "content": text}
    if kind == "ollama":
        message["reasoning"] = ""
    return {"id": "chatcmpl-2", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": used}


def chosen(body: dict[str, Any]) -> tuple[str, str, float]:
    """The two words of a question, and the probability of the first."""
    text = words_of(body)
    if is_probe(body):
        return "yes", "no", 0.1
    if "Answer a or b." in text:
        return "a", "b", truth(*pictures_of(body))
    return "yes", "no", truth(*pictures_of(body), text.removesuffix(" Answer yes or no."))


def tokens(first: str, second: str, p: float, wrong: str) -> list[dict[str, Any]]:
    """The likeliest first tokens, in several spellings."""
    if wrong == "prose":
        return [{"token": "Well", "logprob": math.log(0.9)}, {"token": "The", "logprob": math.log(0.05)}]
    if wrong == "nan":
        return [{"token": first, "logprob": math.nan}, {"token": second, "logprob": -1.0}]
    if wrong == "range":
        return [{"token": first, "logprob": 3.0}, {"token": second, "logprob": -1.0}]
    parts = [(first.title(), 0.6 * p), (f" {first}", 0.3 * p), (first, 0.1 * p)]
    parts += [(second.title(), 0.8 * (1 - p)), (f"▁{second}", 0.2 * (1 - p)), ("Maybe", 1e-4)]
    shares = sorted(((token, 0.99 * share) for token, share in parts), key=lambda part: -part[1])
    return [{"token": token, "logprob": math.log(share), "bytes": None} for token, share in shares]


def prompt_in(text: str) -> str:
    """The first quoted text."""
    return re.findall(r'"([^"]*)"', text)[0]


def fields(body: dict[str, Any]) -> dict[str, Any]:
    """The answer that is asked for, read from the instructions as a model reads them."""
    text = words_of(body)
    form = re.findall(r"Answer with JSON only, in this form: \{(.*)\}", text)[-1]
    found: dict[str, Any] = {}
    for name, value in re.findall(r'"(\w+)": (\[.*?\]|<[^>]*>|"[^"]*"(?: or "[^"]*")*)', form):
        about = re.findall(rf"^- {name}: (.*)$", text, flags=re.M)
        numbers = re.findall(r"from (-?[\d.e+]+) to (-?[\d.e+]+)", value)
        words = re.findall(r'"([^"]*)"', value)
        if numbers:
            low, high = map(float, numbers[0])
            found[name] = low + (high - low) * truth(*pictures_of(body), prompt_in(text), *about)
        elif value.startswith("["):
            found[name] = [f"Is there {word}?" for word in prompt_in(text).split()]
        elif name == "id":
            found[name] = words[0]
        elif words == ["..."]:
            found[name] = f"{prompt_in(text)}, in sharp detail"
        elif words == ["a", "b"]:
            found[name] = "a" if truth(*pictures_of(body)) > 0.5 else "b"
        else:
            asked = "no" if is_probe(body) else "yes" if truth(*pictures_of(body), *about) > 0.5 else "no"
            found[name] = asked
    return found


def written(found: dict[str, Any], body: dict[str, Any], wrong: str) -> str:
    """An answer as JSON with its keys in another order, or spoiled."""
    turned = dict(reversed(found.items()))
    first = next(name for name in found if name != "id" or len(found) == 1)
    spoiled: dict[str, Callable[[], str]] = {
        "prose": lambda: f"I would give it an 8 out of 10. {json.dumps(turned)}",
        "types": lambda: json.dumps({**turned, first: True}),
        "range": lambda: json.dumps({**turned, first: 1e9}),
        "other id": lambda: json.dumps({**turned, "id": "00000000"}),
        "more keys": lambda: json.dumps({**turned, "confidence": 9}),
        "twice": lambda: json.dumps(turned)[:-1] + f", {json.dumps(first)}: 3}}",
        "nan": lambda: json.dumps({**turned, first: math.nan}),
        "empty": lambda: "",
        "cut json": lambda: json.dumps(turned)[:-4],
    }
    return spoiled.get(wrong, lambda: json.dumps(turned))()
