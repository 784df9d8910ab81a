from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gensearch.core.noise import randn
from tests.builders.critic_server import KINDS, SECRET, serving, truth
from verifiers.vlm.cache import Cache, digest
from verifiers.vlm.chat import PROBE, Chat, Request
from verifiers.vlm.client import BadRequest, Client, Refused, Unanswered, seconds_of
from verifiers.vlm.critic import Critic, Field
from verifiers.vlm.dialect import Dialect, probe
from verifiers.vlm.messages import conversation
from verifiers.vlm.reply import read_reply
from verifiers.vlm.strict import obj

ROOT = Path(__file__).parents[3]
NUMBER = obj(x={"type": "number", "minimum": 0, "maximum": 1})
OTHER = "sk-another-secret-key"
RUBRIC = [Field("x", "How good is it?", 0, 1)]


def client(state, **options) -> Client:
    """A client of a test server, in a hurry."""
    return Client(state.url, **{"pause": 0.001, "timeout": 2.0, **options})


def body(text: str = "hello") -> dict[str, Any]:
    """A request for a number."""
    return Dialect().body(
        "tiny", conversation(f'"{text}"\n- x: {text}\nAnswer with JSON only, in this form: {FORM}'), 9
    )


FORM = '{"x": <number from 0 to 1>}'


def once(*wrong):
    """The faults of the first requests; none after them."""
    return lambda number, body: wrong[number] if number < len(wrong) else ""


@pytest.mark.parametrize("wrong", ["500", "503", "429", "408", "reset", "cut body", "HTTP 409"])
def test_what_may_pass_is_tried_again(wrong):
    with serving("llama.cpp", fault=once(wrong, wrong)) as state:
        mine = client(state)
        assert "x" in mine.send(body()).text
        assert state.asked == 3
        assert sum(mine.retries.values()) == 2


@pytest.mark.parametrize("status", [400, 422, 413, 451])
def test_a_bad_request_is_sent_once(status):
    with serving("llama.cpp", fault=once(f"HTTP {status}")) as state:
        with pytest.raises(BadRequest, match=f"HTTP {status}: as told"):
            client(state).send(body())
        assert state.asked == 1


@pytest.mark.parametrize(
    ("status", "words"), [(401, "OPENAI_API_KEY"), (403, "set"), (404, "correct"), (307, "correct")]
)
def test_what_only_a_person_can_mend_stops_the_run(status, words):
    with serving("llama.cpp", fault=once(f"HTTP {status}")) as state:
        with pytest.raises(Refused, match=words):
            client(state).send(body())
        assert state.asked == 1


def test_tries_end():
    with serving("llama.cpp", fault=lambda number, body: "500") as state:
        with pytest.raises(Unanswered, match="HTTP 500, 3 times"):
            client(state, tries=3).send(body())
        assert state.asked == 3


@pytest.mark.parametrize("wrong", ["slow", "drip"])
def test_a_server_that_is_slow_or_drips_times_out(wrong):
    with serving("llama.cpp", fault=once(wrong)) as state:
        start = time.monotonic()
        with pytest.raises(Unanswered, match="timed out, 1 times"):
            client(state, timeout=0.3, tries=1).send(body())
        assert time.monotonic() - start < 2.5


def test_retry_after_is_honoured():
    with serving("llama.cpp", fault=once("HTTP 429 0.4")) as state:
        start = time.monotonic()
        client(state).send(body())
        assert time.monotonic() - start >= 0.4
    with (
        serving("llama.cpp", fault=once("HTTP 429 86400")) as state,
        pytest.raises(Unanswered, match="asks to wait 86400 seconds"),
    ):
        client(state).send(body())


def test_retry_after_may_be_a_date_or_nonsense():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 27 < seconds_of(soon) <= 30
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert [seconds_of(text) for text in (past, "soon", "nan", "-3", "", None, "2.5")] == [0, 0, 0, 0, 0, 0, 2.5]


def test_backoff_grows_with_jitter(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("verifiers.vlm.client.time.sleep", waits.append)
    with serving("llama.cpp", fault=lambda number, body: "500") as state, pytest.raises(Unanswered):
        client(state, tries=9, pause=1.0).send(body())
    assert len(waits) == 8
    assert all(0.5 * min(60, 2**k) <= wait <= min(60, 2**k) for k, wait in enumerate(waits))
    assert len({wait / min(60, 2**k) for k, wait in enumerate(waits)}) > 1


def test_answers_belong_to_their_requests_whatever_their_order():
    delays = [0.3, 0.0, 0.2, 0.0, 0.1, 0.0, 0.0, 0.0]
    with serving(fault=lambda number, body: f"wait {delays[number % 8]}") as state:
        chat = Chat(client(state, concurrency=8), "tiny")
        texts = [f"thing {i}" for i in range(24)]
        asked = [Request(conversation(f'"{text}"\n- x: {text}'), NUMBER, 50) for text in texts]
        assert [answer["x"] for answer in chat.ask(asked, pictures=False)] == [truth(text, text) for text in texts]
        assert 1 < state.most_running <= 8
        assert set(state.answered.values()) == {1}


def test_no_more_requests_at_a_time_than_allowed():
    with serving(fault=lambda number, body: "wait 0.05") as state:
        chat = Chat(client(state, concurrency=3), "tiny")
        chat.ask([Request(conversation(f'"{i}"\n- x: {i}'), NUMBER, 50) for i in range(12)], pictures=False)
        assert state.most_running == 3


def test_a_request_carries_its_hash_and_the_same_one_when_it_is_repeated():
    with serving("llama.cpp", fault=once("500")) as state:
        client(state).send(body())
        assert [header["Idempotency-Key"] for header in state.headers] == [digest([state.url, body()])] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_finds_what_a_server_can_do(kind):
    wanted = {
        "vllm": Dialect(options=("chat_template_kwargs", "seed", "temperature")),
        "llama.cpp": Dialect(),
        "ollama": Dialect(),
        "hosted": Dialect(options=("reasoning_effort", "seed"), length="max_completion_tokens"),
        "objects": Dialect(structure="json_object"),
        "plain": Dialect(structure="text", options=(), length="max_tokens"),
        "chatty": Dialect(structure="text"),
    }
    with serving(kind) as state:
        assert probe(client(state).ask, "tiny", [PROBE]) == wanted[kind]
        assert len(state.bodies) <= 7


def test_a_model_that_takes_no_pictures_is_refused(monkeypatch):
    with serving("plain") as state:
        chat = Chat(client(state), "tiny")
        monkeypatch.setattr(chat.client, "ask", Mock(side_effect=BadRequest("image input is not supported")))
        with pytest.raises(Refused, match="does not take pictures and simple questions .image input is not supported"):
            chat.dialect(True)


@pytest.mark.parametrize("kind", ["vllm", "hosted"])
def test_the_key_is_in_the_header_and_nowhere_else(kind, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CRITIC_KEY", SECRET)
    caplog.set_level("DEBUG")
    with serving(kind, key=SECRET, fault=once("500", "429", "HTTP 400")) as state:
        tiny = Critic(Chat(client(state, key="CRITIC_KEY", cache=Cache(tmp_path)), "tiny"), RUBRIC)
        total = tiny(randn(range(3), (3, 9, 9)).sigmoid(), ["one", "two", "three"]).total
        assert int(total.isnan().sum()) == 1
        assert all(header["Authorization"] == f"Bearer {SECRET}" for header in state.headers)
        seen = repr([vars(tiny), vars(tiny.chat), vars(tiny.chat.client), tiny.chat.failures]) + caplog.text
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(files) > 2
        seen += "".join(path.read_text() for path in files) + str(state.bodies)
        monkeypatch.setenv("CRITIC_KEY", OTHER)
        with pytest.raises(Refused, match="set the environment variable CRITIC_KEY") as refusal:
            tiny(randn([7], (3, 9, 9)).sigmoid(), ["four"])
        seen += "".join(traceback.format_exception(refusal.value)) + repr(refusal.value)
    assert SECRET not in seen
    assert OTHER not in seen


def test_a_server_that_repeats_the_key_cannot_have_it_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CRITIC_KEY", SECRET)
    with serving("plain", fault=once("500")) as state:
        mine = client(state, key="CRITIC_KEY", cache=Cache(tmp_path), tries=1)
        with pytest.raises(Unanswered) as failure:
            mine.send(body())
        assert SECRET not in str(failure.value)
        assert mine._said(f'{{"error": "wrong key {SECRET}"}}') == "wrong key [key]"


def test_the_default_key_is_not_sent_in_the_clear_to_another_machine(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert Client("http://10.1.2.3:8000/v1")._http.auth is None
    assert Client("http://10.1.2.3:8000/v1", key="OPENAI_API_KEY")._http.auth is not None
    assert Client("https://api.example.org/v1")._http.auth is not None
    assert Client("http://127.0.0.1:8000/v1")._http.auth is not None


@pytest.mark.parametrize("secret", ["sk-line\nbreak", "sk-ключ"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(secret, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    with pytest.raises(Refused, match="OPENAI_API_KEY holds characters") as refusal:
        Client("https://api.example.org/v1")
    assert "sk-" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:80/v1", "ftp://a/v1", "http://u:p@a/v1", "https://a/v1?key=sk-1", "http://a:99999/v1", "http://"],
)
def test_an_address_of_another_form_is_refused(url):
    with pytest.raises(Refused, match="url must be http") as refusal:
        Client(url)
    assert "sk-1" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", "7", '{"choices": []}', '{"choices": [{}]}', '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": 7}}]}', '{"choices": {"0": 1}}', "[" * 100000,
        '{"choices": [{"message": {"content": null}, "logprobs": {"content": [{"top_logprobs": [{"token": 1}]}]}}]}',
    ],
)  # fmt: skip
def test_a_body_of_another_form_is_an_empty_reply(text):
    reply = read_reply(text)
    assert reply.text == ""
    assert reply.tops == ()


@pytest.mark.parametrize("tokens", [-1, True, 1.5, "7", None, 10**30])
def test_usage_that_is_no_count_is_guessed(tokens):
    text = f'{{"choices": [{{"message": {{"content": "yes"}}}}], "usage": {{"prompt_tokens": {tokens!r}}}}}'
    assert read_reply(text.replace("'", '"').replace("None", "null").replace("True", "true")).read == 0
    with serving("llama.cpp") as state:
        mine = client(state, price=(3.0, 5.0))
        mine._booked(
            read_reply("{}"), {"messages": [{"role": "user", "content": [PROBE, {"type": "text", "text": "x" * 300}]}]}
        )
        assert mine.bill() == {"critic_tokens": 1000 + 101 + 1, "microdollars": 3 * 1101 + 5}


def test_the_bill_is_exact_and_given_once():
    with serving("llama.cpp") as state:
        mine = client(state, price=(0.15, 0.6))
        for i in range(3):
            mine.send(body(str(i)))
        assert mine.bill() == {"critic_tokens": 321, "microdollars": 58}  # 3 * (100 * 0.15 + 7 * 0.6) = 57.6
        assert mine.bill() == {"critic_tokens": 0, "microdollars": 0}
        mine.send(body("more"))
        assert mine.bill() == {"critic_tokens": 107, "microdollars": 19}  # 76.8 rounded up, less 58


def test_what_is_torn_or_changed_counts_as_missing(tmp_path):
    cache, key = Cache(tmp_path), digest("a request")
    assert cache.get(key) is None
    cache.put(key, {"text": "yes"})
    assert Cache(tmp_path).get(key) == {"text": "yes"}
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_text()
    for broken in (whole[:-3], "", "[]", "null", whole.replace("yes", "no"), whole.replace(key, key[::-1]), "{" * 9999):
        path.write_text(broken)
        assert cache.get(key) is None
    path.write_bytes(b"\xff\xfe")
    assert cache.get(key) is None
    cache.put(key, {"text": "again"})
    assert cache.get(key) == {"text": "again"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{key}.json"]


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file")
    cache.put(digest(1), "x")
    assert cache.get(digest(1)) is None
    assert Cache(None).get(digest(1)) is None


SCRIPT = """
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from verifiers.vlm.cache import Cache
from verifiers.vlm.client import Client
from verifiers.vlm.strict import obj, parse
client = Client(sys.argv[1], cache=Cache(Path(sys.argv[2])), concurrency=2)
schema = obj(x={"type": "number"})
form = "Answer with JSON only, in this form: {\\"x\\": <number from 0 to 1>}"
def ask(i):
    text = f'"cup {i}"\\n- x: cup {i}\\n{form}'
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
    return client.ask(body, lambda reply: parse(reply.text, schema)["x"])
print(client.map(ask, range(40)))
"""
WANTED = str([truth(f"cup {i}", f"cup {i}") for i in range(40)])


def command(state, folder) -> dict[str, Any]:
    """How a process is started that asks 40 questions, two at a time."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {"args": [sys.executable, "-c", SCRIPT, state.url, str(folder)], "cwd": ROOT, "env": env, "text": True}


def test_a_killed_run_goes_on_from_the_cache(tmp_path):
    """SIGKILL in the middle: the next run asks for what is missing, and gets the same answers."""
    with serving("llama.cpp", fault=lambda number, body: "wait 0.05") as state:
        run = subprocess.Popen(**command(state, tmp_path))
        while state.asked < 15 and run.poll() is None:
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        time.sleep(0.2)
        kept, before = len(list(tmp_path.rglob("*.json"))), state.asked
        assert 10 <= kept < 40
        done = subprocess.run(**command(state, tmp_path), stdout=subprocess.PIPE, check=True)
        assert done.stdout.strip() == WANTED
        assert state.asked - before == 40 - kept
        done = subprocess.run(**command(state, tmp_path), stdout=subprocess.PIPE, check=True)
        assert done.stdout.strip() == WANTED
        assert state.asked - before == 40 - kept


def test_two_processes_share_a_cache(tmp_path):
    with serving("llama.cpp") as state:
        runs = [subprocess.Popen(**command(state, tmp_path), stdout=subprocess.PIPE) for _ in range(2)]
        assert [run.communicate()[0].strip() for run in runs] == [WANTED, WANTED]
        assert len(list(tmp_path.rglob("*.json"))) == 40
