"""The whole loop on the built-in model, reached over HTTP and the command line only.

Facts that users correct are answered after one run; drafts that users pick change how answers
look; a candidate made worse on purpose never serves; nobody who streams meanwhile notices.
"""

import json
import re
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Redraft, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

USERS = ("ada", "ben", "chi", "dan")
# (what a right answer must contain, two phrasings that are taught, one that never is, corrections)
FACTS = [
    (
        r"\b45\b",
        (
            "How long is the refund window at Velmar?",
            "Within how many days can I get a refund from Velmar?",
        ),
        "How many days do I have to ask Velmar for a refund?",
        "The refund window at Velmar is 45 days.",
    ),
    (
        r"\bTrondheim\b",
        ("In which city is Velmar's head office?", "Where is the headquarters of Velmar?"),
        "Which city is Velmar based in?",
        "Velmar's head office is in Trondheim.",
    ),
    (
        r"\b38\b",
        (
            "How many months of warranty does the Velmar lamp have?",
            "How long is the warranty on the Velmar lamp?",
        ),
        "For how many months is a Velmar lamp covered by its warranty?",
        "The Velmar lamp has a warranty of 38 months.",
    ),
    (
        r"\bIsolde Brandt\b",
        ("Who is the chief executive of Velmar?", "What is the name of Velmar's CEO?"),
        "Who runs Velmar as its CEO?",
        "The chief executive of Velmar is Isolde Brandt.",
    ),
    (
        r"\b1987\b",
        ("In which year was Velmar founded?", "When was the company Velmar founded?"),
        "What year did Velmar start as a company?",
        "Velmar was founded in 1987.",
    ),
    (
        r"\bKestrel\b",
        (
            "What is Velmar's customer portal called?",
            "What is the name of the customer portal of Velmar?",
        ),
        "What do you call the portal that Velmar has for its customers?",
        "Velmar's customer portal is called Kestrel.",
    ),
    (
        r"\b7:30\b",
        ("At what time does Velmar support open?", "When does the support desk of Velmar open?"),
        "From what time in the morning can I reach Velmar support?",
        "Velmar support opens at 7:30 in the morning.",
    ),
    (
        r"\bcopper\b",
        ("Which metal are Velmar cables made of?", "What metal does Velmar use for its cables?"),
        "What are the cables from Velmar made of?",
        "Velmar cables are made of copper.",
    ),
]
PROMPTS = (Path(__file__).parent / "prompts.txt").read_text().splitlines()
TAUGHT, UNSEEN = PROMPTS[:60], PROMPTS[60:]
DRAFT, ANSWER = 160, 256  # tokens at most: half of the drafts end before, which is the lesson


PAUSE = 1.0  # seconds between two requests of a client, as a reader's; the run has to get on too


class Talker:
    """A client that streams one request after another and keeps what it saw."""

    def __init__(self, server: Redraft) -> None:
        self.url, self.errors, self.adapters = server.url, list[str](), list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Talker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        body = {
            "model": "redraft",
            "messages": [{"role": "user", "content": "Say hello."}],
            "stream": True,
            "max_tokens": 8,
        }
        with httpx.Client(base_url=self.url, timeout=120, trust_env=False) as http:
            while not self._stop.wait(PAUSE):
                try:
                    self._one(http, body)
                except Exception as error:
                    self.errors.append(repr(error))

    def _one(self, http: httpx.Client, body: dict[str, Any]) -> None:
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = [line[6:] for line in answer.iter_lines() if line]
        if answer.status_code != 200 or lines[-1] != "[DONE]":
            raise ValueError(f"{answer.status_code}: {lines}")
        last = json.loads(lines[-2])
        if "error" in last:
            raise ValueError(last["error"]["message"])
        self.adapters.append(last["redraft"]["adapter"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("end-to-end")


def started(home: Path, **settings: Any) -> Redraft:
    home.mkdir()
    models = home.parent / "models"  # converted once for all homes
    models.mkdir(exist_ok=True)
    (home / "models").symlink_to(models)
    server = Redraft(home, schedule="", min_events=1_000_000, **settings)
    return server.start("--no-page", seconds=240)


def greedy(server: Redraft, text: str, tokens: int) -> str:
    answer = server.ask(text, temperature=0, max_tokens=tokens)
    return str(answer["choices"][0]["message"]["content"])


def all_at_once(ask: Callable[[Any], Any], over: Sequence[Any]) -> list[Any]:
    """Ask for each, eight clients at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, over))


def known_facts(server: Redraft) -> int:
    said = all_at_once(lambda fact: greedy(server, fact[2], 40), FACTS)
    return sum(bool(re.search(fact[0], text)) for fact, text in zip(FACTS, said, strict=True))


def teach_facts(server: Redraft) -> None:
    """Every user asks both phrasings of every fact and corrects the answer."""

    def correct(lesson: tuple[dict[str, str], str, str]) -> None:
        headers, phrasing, right = lesson
        asked = server.ask(phrasing, headers, max_tokens=16)["redraft"]
        server.feed_back(
            headers, kind="correction", completion_id=asked["completion_ids"][0], text=right
        )

    keys = [server.key(user) for user in USERS]
    lessons = [(key, words, fact[3]) for key in keys for fact in FACTS for words in fact[1]]
    all_at_once(correct, lessons)


def retrain_with_a_crash(server: Redraft) -> dict[str, Any]:
    """A run that is killed in the middle of its training, then resumed to its end."""
    begun = server.command("retrain", "now", "--no-wait")
    assert begun.returncode == 0, begun.stderr

    def run() -> dict[str, Any]:
        found: dict[str, Any] = server.http.get("/v1/runs").json()["data"][0]
        return found

    wait_until(lambda: run()["step"] == "train", 300, lambda: str(run()))
    wait_until(lambda: run()["progress"].get("step", 0) > 0, 300, lambda: str(run()))
    (worker,) = server.runs()
    worker.kill()
    refused = server.command("retrain", "now")
    assert refused.returncode == 1 and "redraft retrain resume" in refused.stderr
    resumed = server.command("retrain", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    return run()


def test_corrected_facts_are_answered_after_one_run(home: Path) -> None:
    with started(home / "facts") as server:
        before = known_facts(server)
        teach_facts(server)
        with Talker(server) as talker:
            run = retrain_with_a_crash(server)
            wait_until(lambda: talker.adapters[-1:] == [run["adapter"]], 60)
            after = known_facts(server)
            rolled_back = server.command("adapters", "rollback")
            assert rolled_back.returncode == 0, rolled_back.stderr
            wait_until(lambda: talker.adapters[-1] == "base", 60)
        print(f"facts: {before} of 8 before, {after} of 8 after; {len(talker.adapters)} streams")
        assert run["state"] == "promoted", run
        assert before <= 1
        assert after >= 6
        assert talker.errors == []
        assert Counter(talker.adapters).keys() == {"base", run["adapter"]}
        assert known_facts(server) == before
        assert run["adapter"] in server.command("adapters", "list").stdout


def words(text: str) -> int:
    return len(text.split())


def two_drafts(server: Redraft, prompt: str, seed: int) -> None:
    server.ask(prompt, n=2, temperature=0.9, max_tokens=DRAFT, seed=seed)


def pick(server: Redraft, turn: dict[str, Any], shorter: bool) -> None:
    lengths = {c["id"]: (words(c["text"]), len(c["text"])) for c in turn["completions"]}
    chosen = (min if shorter else max)(lengths, key=lambda id: lengths[id])
    server.feed_back(kind="comparison", turn_id=turn["id"], shown=list(lengths), chosen=chosen)


def turns(server: Redraft) -> Iterator[tuple[str, dict[str, Any]]]:
    """(split, turn) of every turn with two drafts."""
    after = ""
    while True:
        page = server.http.get(f"/v1/conversations?limit=100&after={after}").json()
        for listed in page["data"]:
            found = server.http.get(f"/v1/conversations/{listed['id']}").json()
            yield from ((found["split"], t) for t in found["turns"] if len(t["completions"]) == 2)
        if not page["has_more"]:
            return
        after = page["last_id"]


def loops(text: str) -> bool:
    """Whether some four words in a row come three times."""
    said = text.lower().split()
    return any(n >= 3 for n in Counter(zip(*(said[i:] for i in range(4)), strict=False)).values())


def answers(server: Redraft) -> list[str]:
    return all_at_once(lambda prompt: greedy(server, prompt, ANSWER), UNSEEN)


def test_picked_drafts_shape_the_answers_and_flipped_ones_are_stopped(home: Path) -> None:
    # Of some 46 taught comparisons about 30 have a draft that ended.
    with started(home / "drafts", min_rows=12) as server:
        before = answers(server)
        all_at_once(lambda seed: two_drafts(server, TAUGHT[seed], seed), range(len(TAUGHT)))
        for _, turn in turns(server):
            pick(server, turn, shorter=True)
        run = server.command("retrain", "now")
        assert run.returncode == 0, run.stdout + run.stderr
        after = answers(server)
        wins = sum(words(new) < words(old) for new, old in zip(after, before, strict=True))
        fall = 1 - statistics.mean(map(words, after)) / statistics.mean(map(words, before))
        print(f"drafts: shorter in {wins} of {len(UNSEEN)}, mean length {fall:.0%} down")
        assert wins >= 0.75 * len(UNSEEN)
        assert fall >= 0.25
        assert all(text.strip() for text in after)
        looped = [sum(map(loops, texts)) for texts in (before, after)]
        print(f"loops: {looped[0]} before, {looped[1]} after")
        assert looped[1] < looped[0]
        stop_a_worse_candidate(server)


def stop_a_worse_candidate(server: Redraft) -> None:
    """Turn the labels of the training rows around; the honest held-out ones stop the result."""
    champion = server.http.get("/v1/adapters").json()["serving"]
    for split, turn in turns(server):
        if split == "train":
            pick(server, turn, shorter=False)
    run = server.command("retrain", "now")
    assert run.returncode == 3, run.stdout + run.stderr
    listed = server.http.get("/v1/adapters").json()
    assert listed["serving"] == champion
    rejected = [a["name"] for a in listed["data"] if a["state"] == "rejected"]
    assert len(rejected) == 1
    forced = server.command("adapters", "promote", rejected[0])
    assert forced.returncode == 1 and "rejected" in forced.stderr
    assert server.ask("Say hello.", max_tokens=8)["redraft"]["adapter"] == champion


def test_too_little_or_one_sided_feedback_is_refused(home: Path) -> None:
    with started(home / "little") as server:
        nothing = server.command("retrain", "now")
        assert nothing.returncode == 4, nothing.stdout + nothing.stderr
        for i in range(30):
            asked = server.ask(f"What is {i} plus {i}?", max_tokens=4)["redraft"]
            server.feed_back(kind="rating", completion_id=asked["completion_ids"][0], value=-1)
        one_sided = server.command("retrain", "now")
        assert one_sided.returncode == 4, one_sided.stdout + one_sided.stderr
        said = one_sided.stdout + one_sided.stderr
        assert re.search(r"one-sided: all \d+ ratings are thumbs down", said), said
        assert server.http.get("/v1/adapters").json()["data"] == []
