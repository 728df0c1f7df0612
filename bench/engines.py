"""How fast the embedded engines write, beside transformers' own `generate`, in one run.

    python bench/engines.py [--model smollm2-135m] [--home ~/.redraft] [--rows generate openvino …]

Each row is a process of its own: `generate` (one request at a time: the baseline), then the engines
with a champion and a canary adapter loaded (LoRA r 16 on all linear layers). Printed per row, with
the ratio to the baseline: tokens/s of one stream and of 16 together, all on the champion and with
2 of the 16 on the canary; time to the first token of one stream (median); memory after loading and
at its peak, and the peak of the process that an engine makes an adapter's weights in; fairness (the
slowest stream's tokens/s over the fastest's, and whether a request of 8 tokens that comes last ends
first); and a swap to a new champion under 4 streams: errors, and the longest pause between two
tokens, beside the longest without a swap. CPU milliseconds a token hold on a machine that others
use as well, where tokens per second do not.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

TOKENS, STREAMS, SWAPPED, RANK = 64, 16, 4, 16
CHAMPION, CANARY, NEXT = "a-0001-aaaaaa", "a-0002-bbbbbb", "a-0003-cccccc"
ROWS = ("generate", "transformers", "openvino")
Row = dict[str, Any]


def question(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Tell me a long story about {number + 2} dragons."}]


def make_adapter(source: str, folder: Path, seed: int) -> None:
    """A PEFT folder with small random weights: enough to change words, not to break them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(source), config)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=1e-3)
    model.save_pretrained(folder)


class Stream(threading.Thread):
    """One request; when each of its tokens came."""

    def __init__(self, engine: Any, number: int, adapter: str, tokens: int = TOKENS) -> None:
        from serve.engines.base import Sampling

        super().__init__()
        self.times: list[float] = []
        self.error: Exception | None = None
        self.began = time.perf_counter()
        prompt = engine.encode_chat(question(number))
        self._chunks = engine.generate(prompt, Sampling(max_tokens=tokens, seed=number), adapter)

    def run(self) -> None:
        self.began = time.perf_counter()
        try:
            for chunk in self._chunks:
                self.times += [time.perf_counter()] * len(chunk.token_ids)
        except Exception as error:  # what a client of a swap would see is what is measured
            self.error = error

    @property
    def first(self) -> float:
        return self.times[0] - self.began

    @property
    def pause(self) -> float:
        return max(b - a for a, b in zip(self.times, self.times[1:], strict=False))

    @property
    def rate(self) -> float:
        return len(self.times) / (self.times[-1] - self.began)


def together(streams: Sequence[Stream]) -> tuple[float, float]:
    """Run the streams at once; tokens per second of all, and CPU milliseconds a token."""
    began, cpu = time.perf_counter(), time.process_time()
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join()
    tokens = sum(len(stream.times) for stream in streams)
    return tokens / (time.perf_counter() - began), 1e3 * (time.process_time() - cpu) / tokens


def memory() -> int:
    return int(psutil.Process().memory_info().rss >> 20)


def measure_generate(model: str, home: Path, adapters: Path) -> Row:
    """transformers alone: bf16, the adapter merged, one request after the other."""
    from serve.engines import weights as hf
    from serve.engines.builtin import model_source
    from serve.engines.tokenizer import ChatTokenizer

    source = model_source(model, home)
    tokenizer = ChatTokenizer(model, source)
    module = hf.load_weights(model, source, dtype=hf.fast_dtype("cpu"))
    module = hf.merge(module, CHAMPION, adapters / CHAMPION)
    import torch

    def write(number: int, tokens: int) -> tuple[int, float]:
        ids = torch.tensor([tokenizer.encode_chat(question(number))])
        began = time.perf_counter()
        out = module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=True,
            temperature=0.7, top_k=0, pad_token_id=tokenizer.hf.eos_token_id,
        )  # fmt: skip
        return out.shape[1] - ids.shape[1], time.perf_counter() - began

    write(0, 8)
    cpu = time.process_time()
    written = [write(number, TOKENS) for number in range(5)]
    tokens = sum(count for count, _ in written)
    rate, cpu = tokens / sum(seconds for _, seconds in written), time.process_time() - cpu
    first = statistics.median(write(number, 1)[1] for number in range(5))
    row: Row = {"one": rate, "all": rate, "mixed": rate, "first": first, "memory": memory()}
    return row | dict.fromkeys(("cpu_one", "cpu_all", "cpu_mixed"), 1e3 * cpu / tokens)


def measure_engine(name: str, model: str, home: Path, adapters: Path) -> Row:
    from serve.engines import open_engine

    engine: Any = open_engine(name, model, home)
    for adapter in (CHAMPION, CANARY):
        engine.load_adapter(adapter, adapters / adapter)
        together([Stream(engine, 0, adapter, 8)])
    row: Row = {"memory": memory()}
    alone = [Stream(engine, number, CHAMPION) for number in range(5)]
    measured = [together([stream]) for stream in alone]
    row["one"] = statistics.median(rate for rate, _ in measured)
    row["cpu_one"] = statistics.median(cpu for _, cpu in measured)
    row["first"] = statistics.median(stream.first for stream in alone)
    streams = [Stream(engine, number, CHAMPION) for number in range(STREAMS)]
    row["all"], row["cpu_all"] = together(streams)
    row["fair"] = min(s.rate for s in streams) / max(s.rate for s in streams)
    row["pause"] = max(s.pause for s in streams)
    row["mixed"], row["cpu_mixed"] = together(
        [Stream(engine, n, CANARY if n < 2 else CHAMPION) for n in range(STREAMS)]
    )
    row |= late_comer(engine) | swap(engine, adapters)
    row["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    row["maker"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    engine.close()
    return row


def late_comer(engine: Any) -> Row:
    """A short request behind 15 long ones: whether it ends before any of them."""
    streams = [Stream(engine, number, CHAMPION, 4 * TOKENS) for number in range(STREAMS - 1)]
    short = Stream(engine, STREAMS, CHAMPION, 8)
    together([*streams, short])
    whole = [s.times[-1] for s in streams if len(s.times) >= TOKENS]
    return {"short_first": all(short.times[-1] < end for end in whole)}


def swap(engine: Any, adapters: Path) -> Row:
    """Load a new champion and let the old one go while 4 streams write again and again."""
    from serve.turn.serving import attest

    streams: list[Stream] = []
    over, serving = threading.Event(), [CHAMPION]

    def client(number: int) -> None:
        while not over.is_set():
            streams.append(Stream(engine, number, serving[0], 2 * TOKENS))
            streams[-1].run()

    clients = [threading.Thread(target=client, args=(n,)) for n in range(SWAPPED)]
    for thread in clients:
        thread.start()
    began = time.perf_counter()
    engine.load_adapter(NEXT, adapters / NEXT)
    attest(engine, NEXT)
    serving[0] = NEXT
    seconds = time.perf_counter() - began
    over.set()
    for thread in clients:
        thread.join()
    engine.unload_adapter(CHAMPION)
    return {
        "swap_errors": sum(s.error is not None for s in streams),
        "swap_pause": max(s.pause for s in streams if len(s.times) > 1),
        "swap_seconds": seconds,
    }


def run_row(name: str, model: str, home: Path, adapters: Path) -> Row:
    """One row in a process of its own."""
    command = [sys.executable, __file__, "--row", name, "--adapters", str(adapters)]
    command += ["--model", model, "--home", str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def show(name: str, row: Row, baseline: Row) -> None:
    speeds = ("one", "all", "mixed")
    ratios = [f"{row[key]:6.0f} ({row[key] / baseline[key]:4.1f}x)" for key in speeds]
    costs = [(row[f"cpu_{key}"], baseline[f"cpu_{key}"] / row[f"cpu_{key}"]) for key in speeds]
    cpu = ", ".join(f"{ms:.1f} ({ratio:.1f}x)" for ms, ratio in costs)
    print(
        f"{name:13}{'  '.join(ratios)}  {1e3 * row['first']:6.0f} ms  {row['memory']:5} MB", end=""
    )
    print(f"  CPU ms a token {cpu}", end="")
    if "peak" in row:
        print(
            f" (peak {row['peak']} MB, maker {row['maker']} MB), slowest/fastest "
            f"{row['fair']:.2f}, short one first: {row['short_first']}, longest pause "
            f"{1e3 * row['pause']:.0f} ms, swap in {row['swap_seconds']:.1f} s: "
            f"{row['swap_errors']} errors, longest pause {1e3 * row['swap_pause']:.0f} ms",
            end="",
        )
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--home", type=Path, default=Path("~/.redraft").expanduser())
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--adapters", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        place = (given.model, given.home, given.adapters)
        row = (
            measure_generate(*place)
            if given.row == "generate"
            else measure_engine(given.row, *place)
        )
        print(json.dumps(row))
        return
    from serve.engines.builtin import model_source

    with tempfile.TemporaryDirectory() as folder:
        source = model_source(given.model, given.home)
        home = Path(folder) / "home"  # in which no adapter's weights are made yet
        home.mkdir()
        (home / "models").symlink_to((given.home / "models").absolute())
        for seed, name in enumerate((CHAMPION, CANARY, NEXT)):
            make_adapter(source, Path(folder) / name, seed)
        print(f"{'tokens/s of':13}one stream     {STREAMS} together    2 on canary    first token")
        baseline = run_row("generate", given.model, home, Path(folder))
        show("generate", baseline, baseline)
        for name in (name for name in given.rows if name != "generate"):
            show(name, run_row(name, given.model, home, Path(folder)), baseline)


if __name__ == "__main__":
    main()
