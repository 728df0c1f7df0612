"""`redraft up` in a home of its own, as its users reach it: HTTP, and the command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).parents[2]
AT_ONCE = 8  # people who ask at the same time
READY, RUN = 300, 7200  # seconds
ENDED = ("promoted", "rejected", "refused")
LOCAL = ""  # the local user, who needs no key

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Server:
    """Started by `with`, stopped at its end; everything is kept in `home`."""

    def __init__(self, home: Path, settings: dict[str, Any]) -> None:
        self.home = home
        self.port = _free_port()
        given = {"home": home, "port": self.port, **settings}
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("REDRAFT_")},
            **{f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()},
        }
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=600, trust_env=False
        )
        self._keys: dict[str, dict[str, str]] = {LOCAL: {}}

    def __enter__(self) -> "Server":
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serve.cli", "up", "--no-page"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.send_signal(signal.SIGINT)
                raise SystemExit(f"The server did not start: see {self.home / 'server.log'}.")
            time.sleep(0.2)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self.http.close()

    def ask(self, user: str, text: str, **body: Any) -> dict[str, Any]:
        """One question in a new conversation; the whole answer."""
        asked = {"model": "redraft", "messages": [{"role": "user", "content": text}], **body}
        return self._post(user, "/v1/chat/completions", asked)

    def answer(self, text: str, tokens: int, model: str = "redraft") -> str:
        """What is written greedily, by what serves or by another adapter or `base`."""
        found = self.ask(LOCAL, text, temperature=0, max_tokens=tokens, model=model)
        return str(found["choices"][0]["message"]["content"])

    def feed_back(self, user: str, **body: Any) -> None:
        """One piece of feedback."""
        self._post(user, "/v1/feedback", body)

    def drafts(self, turn_id: str, conversation_id: str, user: str) -> dict[str, str]:
        """The texts of a turn's drafts by completion id."""
        headers = self._headers(user)
        found = self.http.get(f"/v1/conversations/{conversation_id}", headers=headers).json()
        (turn,) = [turn for turn in found["turns"] if turn["id"] == turn_id]
        return {draft["id"]: draft["text"] for draft in turn["completions"]}

    def retrain(self, recipe: Path | None = None) -> dict[str, Any]:
        """One run to its end, whatever that is; with `seconds` of wall time."""
        given = ["--recipe", str(recipe)] if recipe else []
        done = self.command("retrain", "now", *given)
        if done.returncode not in (0, 3, 4):
            raise SystemExit(f"The run failed:\n{done.stdout}{done.stderr}")
        run = self.last_run()
        if run is None:
            raise SystemExit(f"No run ended:\n{done.stdout}{done.stderr}")
        return run

    def last_run(self) -> dict[str, Any] | None:
        """The newest run that came to its end, with `seconds` of wall time."""
        runs: list[dict[str, Any]] = self.http.get("/v1/runs").json()["data"]
        for run in runs:
            if run["state"] in ENDED:
                ends = (datetime.fromisoformat(run[end]) for end in ("finished_at", "created_at"))
                return {**run, "seconds": (next(ends) - next(ends)).total_seconds()}
        return None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`redraft …`."""
        return subprocess.run(
            [sys.executable, "-m", "serve.cli", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=RUN,
        )

    def _post(self, user: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=body, headers=self._headers(user))
        if not answer.is_success:
            raise SystemExit(f"{path} answered {answer.status_code}: {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found

    def _headers(self, user: str) -> dict[str, str]:
        if user not in self._keys:
            done = self.command("key", "new", "--user", user)
            if done.returncode:
                raise SystemExit(done.stderr)
            self._keys[user] = {"Authorization": f"Bearer {done.stdout.strip()}"}
        return self._keys[user]

    def meet(self, users: Sequence[str], role: str = "user") -> None:
        """Make the users' keys, before they come at the same time; give them the role."""
        for user in users:
            self._headers(user)
            if role != "user" and (done := self.command("user", "role", user, role)).returncode:
                raise SystemExit(done.stderr)

    def _ready(self) -> bool:
        try:
            return self.http.get("/readyz", timeout=2).is_success
        except httpx.HTTPError:
            return False


def all_at_once(work: Callable[[Asked], Answered], over: Sequence[Asked]) -> list[Answered]:
    """The work for each, eight people at a time, in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, over))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
