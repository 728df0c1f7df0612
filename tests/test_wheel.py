"""The wheel, installed in an empty environment and run from another folder."""

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_the_program_reads(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "prompts", "feedback", "serve", "retrain"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert listed and set(listed) <= packed
    assert not {name.partition("/")[0] for name in packed} & {"tests", "docs", "bench"}


def test_the_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv" / "bin"
    install = [binaries / "python", "-m", "pip", "install", "--quiet", "--constraint"]
    installed = subprocess.run(
        [*install, ROOT / "constraints.txt", wheel], capture_output=True, text=True, cwd=tmp_path
    )
    assert installed.returncode == 0, installed.stderr[-2000:]
    port, page_port = free_port(), free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        "REDRAFT_HOME": str(tmp_path / "home"),
        "REDRAFT_ENGINE": "echo",
        "REDRAFT_PORT": str(port),
        "REDRAFT_PAGE_PORT": str(page_port),
    }
    log = tmp_path / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [binaries / "redraft", "up"],
            env=environment,
            cwd=tmp_path,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Redraft is ready" in log.read_text(), 180, log.read_text)
        body = {"model": "redraft", "messages": [{"role": "user", "content": "hi"}]}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        answer = httpx.post(url, json=body, trust_env=False, timeout=60).json()
        assert answer["choices"][0]["message"]["content"] == "You said: hi"
        page = httpx.get(f"http://127.0.0.1:{page_port}", trust_env=False, timeout=60)
        assert page.status_code == 200 and "Redraft" in page.text
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(40)
    assert process.returncode == 0, log.read_text()[-2000:]
