"""Fixtures shared by the tests: settings in a temporary home, a tiny real model, a real server."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from serve.cli import share_processor

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from openai import OpenAI
    from playwright.sync_api import Browser, BrowserContext
    from trainer_jobs import Job

    from feedback.database import Database
    from feedback.tables import User
    from retrain.job import TrainJob
    from serve.api.context import Context
    from serve.settings import Settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
share_processor()

ROOT = Path(__file__).parents[1]
# Without compiling, and in numbers that do not depend on what else is in the batch.
VLLM = {
    "engine": "vllm",
    "vllm_python": os.environ.get("REDRAFT_VLLM_PYTHON", str(ROOT / ".venv-vllm/bin/python")),
    "vllm_args": "--enforce-eager --dtype float32",
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# Below those that Linux gives to connections, and other ones for each worker: a port that was free
# when it was asked for is still free when a server opens it seconds later.
PORTS = itertools.count(20_000 + 4_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))


def free_port() -> int:
    for port in PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests of minutes first, so that two processes end together."""
    long = {item.path for item in items if any(map(item.get_closest_marker, ("slow", "browser")))}
    items.sort(key=lambda item: item.path not in long)


class Redraft:
    """A real server in a home of its own, reached over HTTP and the command line only."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.port, self.page_port = free_port(), free_port()
        self.log = home.parent / f"{home.name}.log"
        given = {"home": home, "port": self.port, "page_port": self.page_port, **settings}
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("REDRAFT_")},
            **{f"REDRAFT_{name.upper()}": str(value) for name, value in given.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=300, trust_env=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.page_port}"

    def start(self, *options: str, seconds: float = 120) -> "Redraft":
        """`redraft up` with the options, until it says that it is ready."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serve.cli", "up", *options],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: self._is_ready(), seconds, lambda: self.log.read_text()[-3000:])
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(40)
        self.process = None
        for run in self.runs():  # a run goes on without its server, but not without its test
            run.kill()

    def __enter__(self) -> "Redraft":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.http.close()

    def runs(self) -> list[psutil.Process]:
        """The processes in which runs of this home are at work."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                if "retrain.loop" in (process.info["cmdline"] or []):
                    if process.environ().get("REDRAFT_HOME") == str(self.home):
                        found.append(process)
        return found

    def command(self, *arguments: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """`redraft …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "serve.cli", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def key(self, user: str) -> dict[str, str]:
        """Headers of a user, made when new."""
        done = self.command("key", "new", "--user", user)
        assert done.returncode == 0, done.stderr
        return {"Authorization": f"Bearer {done.stdout.strip()}"}

    def ask(self, text: str, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """One question, answered whole."""
        body = {"model": "redraft", "messages": [{"role": "user", "content": text}], **body}
        answer = self.http.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def feed_back(self, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/feedback", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"redraft up ended:\n{self.log.read_text()[-3000:]}"
        return "Redraft is ready" in self.log.read_text()


def wait_until(
    done: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Poll `done` until it is true; fail with `explain()` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s: {explain()}"
        time.sleep(0.05)


@pytest.fixture
def make_redraft(tmp_path: Path) -> Iterator[Callable[..., Redraft]]:
    """Makes servers; all of them are stopped when the test ends."""
    made: list[Redraft] = []

    def make(home: Path | None = None, **settings: Any) -> Redraft:
        made.append(Redraft(home or tmp_path / f"home{len(made)}", **settings))
        return made[-1]

    yield make
    for server in made:
        server.__exit__()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a random two-layer Llama and a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-model")
    marks = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = [*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocabulary)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=marks[0], bos_token=marks[1], eos_token=marks[2]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,  # of 32 numbers each, the least that vLLM takes on a CPU
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vllm_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    """`redraft up` with a real vLLM over the tiny model: one for all, as it takes a minute."""
    home = tmp_path_factory.mktemp("vllm")
    with Redraft(home, model=tiny_model, vllm_port=free_port(), **VLLM) as server:
        yield server.start("--no-page", "--no-scheduler", seconds=600)


@pytest.fixture(scope="session")
def vllm_port(vllm_server: Redraft) -> int:
    """Where that vLLM listens."""
    return int(vllm_server.environment["REDRAFT_VLLM_PORT"])


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    from browser_page import open_chromium

    with open_chromium() as browser:
        yield browser


@pytest.fixture
def context(chromium: "Browser") -> Iterator["BrowserContext"]:
    """A window of its own: no storage of another test."""
    from browser_page import open_context

    with open_context(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Context"]:
    """What the API works with, on a record of the module's own."""
    from api_context import open_here

    from serve.settings import load_settings

    with open_here(load_settings(home=tmp_path_factory.mktemp("home"), engine="echo")) as context:
        yield context


@pytest.fixture
def app(here: "Context") -> "Flask":
    """The API over the module's own `here`."""
    from serve.api import create_app

    return create_app(here)


@pytest.fixture
def api(app: "Flask") -> "FlaskClient":
    return app.test_client()


@pytest.fixture
def openai(app: "Flask") -> Iterator["OpenAI"]:
    """OpenAI's own client of the same."""
    from openai import OpenAI

    with httpx.Client(transport=httpx.WSGITransport(app)) as transport:
        yield OpenAI(base_url="http://redraft/v1", api_key="x", http_client=transport)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """REDRAFT_HOME of commands that run in this process."""
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    monkeypatch.delenv("REDRAFT_DATABASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def settings(home: Path) -> "Settings":
    from serve.settings import load_settings

    return load_settings()


@pytest.fixture
def database(settings: "Settings") -> Iterator["Database"]:
    """A record at the newest version, empty."""
    from feedback.database import open_database
    from feedback.migrate import migrate

    found = open_database(settings.database_url)
    migrate(found)
    yield found
    found.close()


@pytest.fixture
def ada(database: "Database") -> "User":
    from feedback import users

    with database.session() as session:
        return users.add_user(session, "ada")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT folder for the tiny model whose weights change its answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("tiny-adapter")
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    torch.manual_seed(1)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A model this small only loses by threads, most of all beside other tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that trainers train in a moment."""
    from trainer_jobs import make_base

    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def job(base: Path, tmp_path: Path) -> "Job":
    """A training of rows, to the folder of that name."""
    from trainer_jobs import make_job

    def make(rows: list[dict[str, Any]], out: str = "adapter", **more: Any) -> "TrainJob":
        return make_job(base, rows, tmp_path / out, more.pop("settings", {}), **more)

    return make


@pytest.fixture
def reward_model(job: "Job") -> Path:
    from trainer_jobs import PAIRS

    from retrain.trainers import reward

    made = job(PAIRS, out="reward", settings={"epochs": 4})
    reward.train(made)
    return made.out.rename(made.out.parent.parent / f"{made.out.parent.name}-reward")


@pytest.fixture
def job_for(base: Path, job: "Job", request: pytest.FixtureRequest) -> "Job":
    """A job for the trainer of that name, with what it needs."""
    from trainer_jobs import rows_for

    def make(name: str, out: str = "adapter", **more: Any) -> "TrainJob":
        if name == "online_grpo":
            more["reward"] = request.getfixturevalue("reward_model")
            own = {"longest": 8, "drafts": 4, "beta": 0.01}
            more["settings"] = {**own, **more.get("settings", {})}
        return job(rows_for(name, base), out, **more)

    return make
