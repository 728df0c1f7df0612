"""Other people's tests of the APIs against a server of ours: `make conformance`.

`python tests/conformance/run.py TOOLS [--openai2 VENV] [--engine echo] [--only NAME …]
[--fuzz-seconds 60]`: TOOLS is the virtual environment of requirements.txt, VENV that of
requirements-openai2.txt. Each suite's output lies in the folder that the end names.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]
MODEL = "smollm2-135m"
LLMPROBE = "llmprobe@0.6.12"
AI_SDK = (
    "ai@6", "@ai-sdk/openai@3", "@ai-sdk/openai-compatible@2", "@ai-sdk/open-responses@1", "zod@4",
)  # fmt: skip
SECONDS = 3600
NO_IMAGES = "no model here sees images; refused with a 400"
KNOWN = {  # what fails, and why
    "image-input": NO_IMAGES,
    "chat-image-input": NO_IMAGES,
}


@dataclass
class Result:
    """What a suite found; `unexpected` is what nobody explained."""

    passed: int
    total: int
    unexpected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Where the tools are, the server they test and the folder they write to."""

    tools: Path
    url: str
    folder: Path
    engine: str
    openai2: Path | None = None  # tools that need an older openai
    fuzz_seconds: int = 60  # of schemathesis

    def run(self, name: str, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command to its end, its output kept."""
        environment = {**os.environ, "HOME": str(self.folder), "HF_HUB_OFFLINE": "1", **more}
        done = subprocess.run(
            command, env=environment, cwd=HERE, capture_output=True, text=True, timeout=SECONDS
        )
        (self.folder / f"{name}.txt").write_text(done.stdout + done.stderr)
        return done

    def tool(self, name: str) -> str:
        return str(self.tools / "bin" / name)


def main() -> None:
    """Run the suites and print what they found; exit code 1 for what nobody explained."""
    from conftest import Redraft  # it finds its own packages from the folder above

    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="redraft-conformance-"))
    with Redraft(folder / "home", engine=arguments.engine, threads=32) as server:
        server.start("--no-page", "--no-scheduler", seconds=600)  # a model is converted once
        given = arguments.tools, server.url, folder, arguments.engine, arguments.openai2
        bench = Bench(*given, arguments.fuzz_seconds)
        results = {name: _try(SUITES[name], bench) for name in arguments.only or SUITES}
    print(f"Output of every suite: {folder}")
    sys.exit(any(result.unexpected for result in results.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=_absolute)
    parser.add_argument("--openai2", type=_absolute)
    parser.add_argument("--engine", default="echo")
    parser.add_argument("--only", nargs="*", choices=SUITES)
    parser.add_argument("--fuzz-seconds", type=int, default=60)
    return parser.parse_args()


def _absolute(given: str) -> Path:
    return Path(given).absolute()


def _try(suite: Callable[[Bench], Result], bench: Bench) -> Result:
    began = time.monotonic()
    try:
        result = suite(bench)
    except Exception as error:  # the other suites still run
        result = Result(0, 0, [f"{type(error).__name__}: {error}"])
    seconds = time.monotonic() - began
    print(f"{suite.__name__}: {result.passed} of {result.total} passed ({seconds:.0f} s)")
    for mark, lines in (("!", result.unexpected), ("-", result.notes)):
        for line in lines:
            print(f"  {mark} {line}")
    sys.stdout.flush()
    return result


def comply_responses(bench: Bench) -> Result:
    return _comply(bench, "open-responses")


def comply_chat(bench: Bench) -> Result:
    return _comply(bench, "openai-chat")


def _comply(bench: Bench, form: str) -> Result:
    target = ["-u", f"{bench.url}/v1", "-k", "x", "-m", MODEL, "--format", form]
    options = ["--timeout", "600", "--json"]
    done = bench.run(f"llm-comply-{form}", bench.tool("llm-comply"), *target, *options)
    results = json.loads(done.stdout)["results"]
    counted = [one for one in results if one["status"] != "skipped"]
    failed = [one["id"] for one in counted if one["status"] not in ("passed", "warning")]
    skipped = [f"{one['id']}: {one['errors'][0]}" for one in results if one not in counted]
    result = _explained(len(counted), failed, KNOWN)
    result.notes += skipped
    return result


def llmprobe(bench: Bench) -> Result:
    report = bench.folder / "llmprobe.json"
    if not shutil.which("npx"):
        return Result(0, 0, notes=["not run: npx (Node 20) is missing"])
    options = ["--no-bench", "--no-save", "--timeout", "600", "--save", str(report)]
    target = [f"{bench.url}/v1", "-m", MODEL, "-k", "x"]
    bench.run("llmprobe", "npx", "--yes", LLMPROBE, *target, *options)
    found = json.loads(report.read_text())["conformance"]
    failed = [
        f"{one['id']}: {claim['label']} ({claim['message']})"
        for one in found["results"]
        for claim in one["failures"]
        if claim["severity"] == "MUST"
    ]
    result = _explained(found["total"], failed, KNOWN)
    result.notes += [f"inconclusive, {one['id']}: {one['reason']}" for one in found["inconclusive"]]
    return result


def langchain(bench: Bench) -> Result:
    done = bench.run(
        "langchain",
        *(bench.tool("python"), "-m", "pytest", "langchain_chat.py", "-rxXf", "-q"),
        *("-c", os.devnull, "--rootdir", str(HERE), "--confcutdir", str(HERE)),
        *("-p", "no:cacheprovider", "-o", "asyncio_mode=auto"),
        # One event loop: the client keeps its connections over the tests.
        *("-o", "asyncio_default_test_loop_scope=session"),
        *("-o", "asyncio_default_fixture_loop_scope=session"),
        *("--disable-socket", "--allow-hosts=127.0.0.1", "--allow-unix-socket"),
        CONFORMANCE_URL=bench.url,
        CONFORMANCE_MODEL=MODEL,
    )
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    expected = re.findall(r"^XFAIL (\S+ - .*)", done.stdout, re.M)
    total = counts.get("passed", 0) + len(failed) + len(expected)
    return Result(counts.get("passed", 0), total, failed, expected)


def schemathesis(bench: Bench) -> Result:
    config = ["--config-file", str(HERE / "schemathesis.toml"), "run"]
    options = ["--max-time", str(bench.fuzz_seconds), "--no-color"]
    document = f"{bench.url}/openapi.json"
    done = bench.run("schemathesis", bench.tool("schemathesis"), *config, document, *options)
    cases = re.search(r"(\d+) generated", done.stdout)
    found = re.findall(r"^- (\w+ .*)", done.stdout, re.M) if done.returncode else []
    total = int(cases[1]) if cases else 0
    failed = found or ([done.stdout[-300:]] if done.returncode else [])
    return Result(total - len(failed), total, failed)


def lm_eval(bench: Bench) -> Result:
    """The harness sends token ids, and the tokenizer that is made here is engine echo's."""
    if bench.engine != "echo":
        return Result(0, 0, notes=["not run: for engine echo only"])
    tokens = bench.folder / "tokenizer"
    bench.run("echo-tokenizer", bench.tool("python"), "echo_tokenizer.py", str(tokens))
    given = f"model={MODEL},base_url={bench.url}/v1/completions,num_concurrent=1"
    tokenizer = f"tokenizer_backend=huggingface,tokenizer={tokens}"
    done = bench.run(
        "lm-eval",
        *(bench.tool("lm_eval"), "run", "--model", "local-completions"),
        *("--model_args", f"{given},{tokenizer}", "--include_path", str(HERE / "harness")),
        *("--tasks", "redraft_capitals,redraft_completes"),
        *("--output_path", str(bench.folder / "lm-eval.json")),
    )
    scored = re.findall(r"^\|(redraft_\w+)", done.stdout, re.M)
    missing = {"redraft_capitals", "redraft_completes"} - set(scored)
    return Result(len(scored), 2, sorted(missing))


def clients(bench: Bench) -> Result:
    return _clients(bench, "openai3", bench.tools)


def older_clients(bench: Bench) -> Result:
    if bench.openai2 is None:
        return Result(0, 0, notes=["not run: --openai2 names no virtual environment"])
    return _clients(bench, "openai2", bench.openai2)


def ai_sdk(bench: Bench) -> Result:
    if not shutil.which("npm"):
        return Result(0, 0, notes=["not run: npm (Node 20) is missing"])
    script = shutil.copy(HERE / "clients" / "ai-sdk.mjs", bench.folder)  # beside its packages
    options = ["--prefix", str(bench.folder), "--no-audit", "--no-fund"]
    bench.run("npm", "npm", "install", *options, *AI_SDK)
    return _checks(bench, "ai-sdk", "node", script)


def _clients(bench: Bench, name: str, tools: Path) -> Result:
    python, script = tools / "bin" / "python", HERE / "clients" / f"{name}.py"
    return _checks(bench, f"clients-{name}", str(python), str(script))


def _checks(bench: Bench, name: str, *command: str) -> Result:
    """The checks of a file in `clients`, by what it prints of each."""
    done = bench.run(name, *command, bench.url, MODEL, bench.engine)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"check"')]
    failed = [f"{one['check']}: {one['broke']}" for one in told if one["broke"]]
    if done.returncode or not told:
        failed.append(f"{name} ended early: {done.stderr[-300:]}")
    return Result(len(told) - len(failed), len(told), failed)


def _explained(total: int, failed: list[str], known: dict[str, str]) -> Result:
    result = Result(total - len(failed), total)
    for one in failed:
        why = known.get(one.partition(":")[0])
        (result.notes if why else result.unexpected).append(f"{one}: {why}" if why else one)
    return result


SUITES: dict[str, Callable[[Bench], Result]] = {
    suite.__name__: suite
    for suite in (
        comply_responses,
        comply_chat,
        llmprobe,
        langchain,
        clients,
        older_clients,
        ai_sdk,
        lm_eval,
        schemathesis,
    )
}


if __name__ == "__main__":
    main()
