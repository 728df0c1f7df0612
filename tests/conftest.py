"""Fixtures shared by the tests: settings in a temporary home, a tiny real model, a real server."""

import contextlib
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

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from playwright.sync_api import Browser, BrowserContext

    from serve.api.context import Context

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        body = {"messages": [{"role": "user", "content": text}], **body}
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


@pytest.fixture(scope="module")
def vllm_port(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real vLLM over the tiny model, started as `redraft up` starts it."""
    home = tmp_path_factory.mktemp("vllm")
    server = Redraft(home, model=tiny_model, vllm_port=free_port(), **VLLM)
    port = int(server.environment["REDRAFT_VLLM_PORT"])

    def answers() -> bool:
        assert process.poll() is None, server.log.read_text()[-3000:]
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    with server.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve.local_vllm"],
            env=server.environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    wait_until(answers, 600, server.log.read_text)
    yield port
    process.terminate()
    process.wait(30)
    server.__exit__()


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


@pytest.fixture
def api(here: "Context") -> "FlaskClient":
    """A client of the API over the module's own `here`."""
    from serve.api import create_app

    return create_app(here).test_client()


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
