"""A client for chat completions over HTTP: vLLM, llama.cpp, Ollama, hosted services."""

from __future__ import annotations

import json
import math
import os
import secrets
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from verifiers.vlm.cache import Cache, digest
from verifiers.vlm.reply import Reply, guess, message_in, read_reply

A = TypeVar("A")
B = TypeVar("B")
AGAIN = {408, 409, 429}  # and 5xx: statuses after which the same request may succeed
MAX_REPLY = 4_000_000  # bytes
MAX_WAIT = 60.0  # seconds between two tries
KEY = "OPENAI_API_KEY"
LEAST_KEY = 6  # characters; shorter ones, such as "none" for a local server, are no secrets
LOCAL = {"localhost", "127.0.0.1", "::1"}


class Refused(ValueError):
    """The server cannot be used like this; the message says what to change."""


class BadRequest(Exception):
    """The server understood a request and will not serve it (400, 422 ...); its text is the server's message."""


class Unanswered(Exception):
    """All tries failed; its text is the last reason."""


class Key(httpx.Auth):
    """Puts the key into each request and holds only the name of the environment variable that it is in.

    Args:
        variable: the name; a variable that is not set means no key.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def auth_flow(self, request: httpx.Request) -> Any:
        """Add the header to a request."""
        if key := os.environ.get(self.variable, "").strip():
            request.headers["Authorization"] = f"Bearer {key}"
        yield request


class Client:
    """Sends requests to one server: bounded concurrency, time-outs, retries with backoff, and a cache of valid answers.

    A request is sent again after 408, 409, 429, 5xx, a broken connection or a time-out, and after nothing else. Each
    carries the hash of its body as Idempotency-Key. The key is read from the environment when a request is sent.

    Args:
        url: up to and with the version, such as "http://127.0.0.1:8080/v1".
        key: name of the environment variable with the key; None for the default one, which is never sent over plain
            HTTP to another machine.
        concurrency: requests at a time, 1 or more.
        timeout: seconds for one try, above 0.
        tries: of one request, 1 or more.
        pause: seconds before the second try; doubled for each further one.
        price: dollars per million tokens, read and written.
        cache: keeps valid answers.

    Raises:
        Refused: for a URL of another form, one that holds a key, and a key with characters that no header can hold.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        concurrency: int = 4,
        timeout: float = 120.0,
        tries: int = 5,
        pause: float = 0.5,
        price: tuple[float, float] = (0.0, 0.0),
        cache: Cache | None = None,
    ) -> None:
        place = require_url(url)
        plain = place.scheme == "http" and place.hostname not in LOCAL
        self.url = url.rstrip("/")
        self.variable = key or KEY
        self.concurrency, self.timeout, self.tries, self.pause = concurrency, timeout, tries, pause
        self.price, self.cache = price, cache or Cache(None)
        self.retries: Counter[str] = Counter()  # reason -> how many tries failed with it
        self._spent, self._billed, self._lock = (0, 0.0), (0, 0), Lock()
        secret = os.environ.get(self.variable, "").strip()
        if not (secret.isascii() and secret.isprintable()):
            raise Refused(f"the environment variable {self.variable} holds characters that no key has; set it anew")
        auth = Key(self.variable) if key or not plain else None
        limits = httpx.Limits(max_connections=concurrency)
        waits = httpx.Timeout(timeout, connect=min(10.0, timeout))
        headers = {"Accept-Encoding": "identity"}  # nothing that grows when it is unpacked
        self._http = httpx.Client(auth=auth, limits=limits, timeout=waits, headers=headers)
        weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def ask(self, body: Mapping[str, Any], read: Callable[[Reply], A], of: Mapping[str, Any] | None = None) -> A:
        """Return what `read` makes of the reply to a request, from the cache if it was answered before.

        Args:
            body: of the request, without key.
            read: checks the reply; replies that it raises on are not kept.
            of: the request that the answer is kept for, where this one repeats it in other words; this one by default.

        Raises:
            BadRequest, Refused, Unanswered: as `send`; and what `read` raises.
        """
        name = digest([self.url, of or body])
        kept = self.cache.get(name)
        if kept is not None:
            return read(Reply(kept["text"], tuple((word, value) for word, value in kept["tops"])))
        reply = self.send(body)
        answer = read(reply)
        self.cache.put(name, {"text": reply.text, "tops": reply.tops})
        return answer

    def send(self, body: Mapping[str, Any]) -> Reply:
        """Send a request, several times if need be, and return the reply.

        Args:
            body: of the request.

        Raises:
            BadRequest: the server will not serve this request.
            Refused: the server will serve no request: wrong key, address or model.
            Unanswered: no try succeeded.
        """
        data, headers = json.dumps(body).encode(), {"Idempotency-Key": digest([self.url, body])}
        headers["Content-Type"] = "application/json"
        for attempt in range(self.tries):
            try:
                status, text, after = self._once(data, headers)
            except (httpx.TransportError, TimeoutError) as error:
                reason, after = transport(error), None
            else:
                if status == 200:
                    return self._booked(read_reply(text), body)
                said = self._said(text)
                if status not in AGAIN and status < 500:
                    raise self._final(status, said)
                reason = f"HTTP {status}"
            with self._lock:
                self.retries[reason] += 1
            if attempt + 1 < self.tries:
                time.sleep(self._wait(attempt, after, reason))
        raise Unanswered(f"{reason}, {self.tries} times")

    def map(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """Return what `work` returns for each item, in the order of the items, several at a time.

        Args:
            work: called in threads.
            items: any number.
        """
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            return list(pool.map(work, items))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing new is sent

    def bill(self) -> dict[str, int]:
        """Return what was spent since the last call: `critic_tokens`, and `microdollars` rounded up."""
        with self._lock:
            tokens, money = self._spent[0], math.ceil(round(self._spent[1], 6))
            new = {"critic_tokens": tokens - self._billed[0], "microdollars": money - self._billed[1]}
            self._billed = (tokens, money)
        return new

    def _once(self, data: bytes, headers: Mapping[str, str]) -> tuple[int, str, str | None]:
        deadline, parts, size = time.monotonic() + self.timeout, [], 0
        with self._http.stream("POST", f"{self.url}/chat/completions", content=data, headers=headers) as answer:
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:  # also of a server that drips
                    raise TimeoutError
                if size > MAX_REPLY:
                    raise BadRequest(f"a reply of more than {MAX_REPLY} bytes")
            after = answer.headers.get("Retry-After")
            return answer.status_code, b"".join(parts).decode("utf-8", "replace"), after

    def _booked(self, reply: Reply, body: Mapping[str, Any]) -> Reply:
        read, written = reply.read, reply.written
        if not read:  # no word of tokens: what the request may have been, rather than nothing
            read, written = guess(body), max(1, len(reply.text) // 3)
        with self._lock:
            money = self._spent[1] + read * self.price[0] + written * self.price[1]
            self._spent = (self._spent[0] + read + written, money)
        return reply._replace(text=self._said(reply.text, whole=True))

    def _wait(self, attempt: int, after: str | None, reason: str) -> float:
        asked = seconds_of(after)
        if asked > MAX_WAIT:
            raise Unanswered(f"{reason}, and the server asks to wait {asked:.0f} seconds")
        backoff = min(MAX_WAIT, self.pause * 2.0**attempt)
        return max(asked, backoff * (0.5 + secrets.randbelow(1000) / 2000))  # global generators stay untouched

    def _said(self, text: str, whole: bool = False) -> str:
        """The server's words without the key; one short line unless `whole`."""
        key = os.environ.get(self.variable, "").strip()
        if len(key) >= LEAST_KEY:
            text = text.replace(key, "[key]")
        return text if whole else message_in(text)

    def _final(self, status: int, said: str) -> Exception:
        if status in (401, 403):
            return Refused(f"{self.url} refuses the key (HTTP {status}); set the environment variable {self.variable}")
        if status == 404 or 300 <= status < 400:
            return Refused(f"{self.url} has no such model or path (HTTP {status}: {said}); correct url or model")
        return BadRequest(f"HTTP {status}: {said}")


def require_url(url: str) -> Any:
    """Return the parts of a URL.

    Args:
        url: of a server.

    Raises:
        Refused: for another form than http(s)://HOST/PATH, so that no key stands in it.
    """
    try:
        place = urlsplit(url)
        fine = place.scheme in ("http", "https") and place.hostname and place.port != 0
    except ValueError:
        fine = False
    if not fine or place.username or place.password or place.query or place.fragment:
        raise Refused(
            "url must be http(s)://HOST[:PORT]/v1, without name, password or query; keys go in the environment"
        )
    return place


def transport(error: Exception) -> str:
    """Return what went wrong with a connection, in a few words.

    Args:
        error: of httpx, or a time-out.
    """
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "timed out"
    return "cannot connect" if isinstance(error, httpx.ConnectError) else "the connection broke"


def seconds_of(after: str | None) -> float:
    """Return the seconds in a Retry-After header, a number or a date; 0 if there are none.

    Args:
        after: the header, or None.
    """
    try:
        value = float(after or 0)
        return value if math.isfinite(value) and value > 0 else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(str(after)) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
