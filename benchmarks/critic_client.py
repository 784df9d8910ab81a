"""A client against a hostile chat server: whether answers are lost, exchanged or made up, and every failure counted.

    python benchmarks/critic_client.py                       # 1,000 requests, about a minute
    python benchmarks/critic_client.py --requests 200 --json

The server (`tests/builders/critic_server.py`) delays and reorders answers, breaks connections, cuts bodies, gives 408,
429, 500 and 503, and answers with prose, wrong types, numbers out of range, other ids and cut JSON. The right answer is
a hash of the request, so that one given to another request is noticed. A second run finds all answers in the cache.
Some requests are never answered well: they must be missing, and counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the server lies among the tests

from tests.builders.critic_server import BAD_ANSWERS, FAULTS, State, serving, truth, words_of
from verifiers.vlm.cache import Cache
from verifiers.vlm.chat import Chat, Request
from verifiers.vlm.client import Client
from verifiers.vlm.messages import conversation
from verifiers.vlm.strict import obj

LIES = (*BAD_ANSWERS, *FAULTS)
NUMBER = obj(x={"type": "number", "minimum": 0, "maximum": 1})


class Hostile:
    """Faults at random, and some requests that are never answered well.

    Args:
        share: of requests that are spoiled, in [0, 1].
        hopeless: one text in so many is always spoiled, 1 or more.
    """

    def __init__(self, share: float, hopeless: int) -> None:
        self.share, self.hopeless = share, hopeless

    def __call__(self, number: int, body: dict[str, Any]) -> str:
        """The fault of a request; a delay if there is none."""
        rng = np.random.default_rng((7, number))
        text = words_of(body).split('"')[1]
        if int(text.split()[-1]) % self.hopeless == self.hopeless - 1:
            return str(rng.choice(BAD_ANSWERS))
        if rng.random() < self.share:
            return str(rng.choice(LIES))
        return f"wait {rng.exponential(0.004):.4f}"


def judge(found: list[float | None], wanted: list[float]) -> dict[str, int]:
    """Answers by what became of them."""
    right = [a is not None and abs(a - b) < 1e-3 * b for a, b in zip(found, wanted, strict=True)]
    missing = [a is None for a in found]
    return {"right": sum(right), "missing": sum(missing), "mismatched": len(found) - sum(right) - sum(missing)}


def asked(chat: Chat, count: int) -> list[float | None]:
    """Ask for one number of each thing."""
    talks = [conversation(f'"thing {i}"\n- x: thing {i}') for i in range(count)]
    answers = chat.ask([Request(talk, NUMBER, 50) for talk in talks], pictures=False)
    return [answer and answer["x"] for answer in answers]


def run(count: int, share: float, hopeless: int, folder: Path, concurrency: int) -> dict[str, Any]:
    """Both runs, and what client and server counted."""
    with serving("llama.cpp", fault=Hostile(share, hopeless)) as state:
        options: dict[str, Any] = {"concurrency": concurrency, "timeout": 2.5, "tries": 8, "pause": 0.01}
        chat = Chat(Client(state.url, cache=Cache(folder), **options), "tiny")
        start = time.perf_counter()
        first = asked(chat, count)
        seconds = time.perf_counter() - start
        wanted = [truth(f"thing {i}", f"thing {i}") for i in range(count)]
        result = {"requests": count, "seconds": round(seconds, 2), **judge(first, wanted)}
        result |= accounts(state, chat, first, hopeless)
        before = state.asked
        again = Chat(Client(state.url, cache=Cache(folder), **options), "tiny")
        kept = [i for i, answer in enumerate(first) if answer is not None]
        second = asked(again, count)
        with state.lock:
            texts = [words_of(body).split('"')[1] for body in state.bodies[-(state.asked - before) :]]
        result["second run: other answers"] = sum(second[i] != first[i] for i in kept)
        result["second run: sent for answered ones"] = sum(f"thing {i}" in texts for i in kept)
        return result


def accounts(state: State, chat: Chat, found: list[float | None], hopeless: int) -> dict[str, Any]:
    """What went wrong by the server's count and by the client's."""
    with state.lock:
        faults = Counter(state.faults)
        delays = sum(faults.pop(name) for name in [*faults] if name.startswith("wait "))
    spoiled = {name: faults[name] for name in LIES}
    transport = sum(faults[name] for name in FAULTS)
    lies = sum(faults[name] for name in BAD_ANSWERS)
    never = sum(i % hopeless == hopeless - 1 for i in range(len(found)))
    missing = sum(answer is None for answer in found)
    return {
        "sent": state.asked,
        "answered well": delays,
        "faults of transport, server's count": transport,
        "tries that failed, client's count": sum(chat.client.retries.values()),
        "answers that were no answers": lies,
        "requests that are never answered well": never,
        "failures counted by the client": sum(chat.failures.values()),
        "lost": missing - sum(chat.failures.values()),
        "sent and in no account": state.asked - delays - transport - lies,
        "most at a time": state.most_running,
        "faults": spoiled,
        "reasons": dict(chat.client.retries),
        "failures": dict(chat.failures),
    }


def main() -> None:
    """Print the counts, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="requests, 1 or more (default 1000)")
    parser.add_argument("--share", type=float, default=0.3, help="of requests that are spoiled, 0 to 1 (default 0.3)")
    parser.add_argument("--hopeless", type=int, default=50, help="one in so many is always spoiled (default 50)")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at a time (default 16)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(args.requests, args.share, args.hopeless, Path(folder), args.concurrency)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result.items():
        print(f"{name:42} {value}")


if __name__ == "__main__":
    main()
