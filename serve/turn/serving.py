"""Which adapter answers now, and how a new one takes its place without a request noticing."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from feedback import adapters as registry
from feedback.database import Database
from feedback.errors import NotFound
from serve.engines.base import BASE, AdapterError, Engine, EngineError, Sampling

log = logging.getLogger("redraft")

PROBE = "What can you help me with?"
PROBE_TOKENS = 8
LEAST_DIFFERENCE = 1e-4  # mean absolute log-probability, between an adapter and the base


class Serving:
    """The champion in the engine, the answers that are being written, and the swap between the two.

    Swap: load under the new immutable name, warm, attest, flip, record, drain, unload.
    """

    def __init__(self, engine: Engine, database: Database, drain_seconds: float) -> None:
        self.engine = engine
        self.problem: str | None = None  # why something else than the champion serves
        self._database = database
        self._drain_seconds = drain_seconds
        self._current: str | None = None
        self._writing: Counter[str | None] = Counter()
        self._state = threading.Condition()
        self._swap = threading.Lock()

    @property
    def adapter(self) -> str:
        """Name of the adapter that answers now, `base` while none serves."""
        return self._current or BASE

    @contextmanager
    def lease(self, wanted: str | None = None) -> Iterator[str | None]:
        """The adapter for one turn; it stays loaded until the block ends, also over a swap."""
        with self._state:
            adapter = self._chosen(wanted)
            self._writing[adapter] += 1
        try:
            yield adapter
        finally:
            with self._state:
                self._writing[adapter] -= 1
                self._state.notify_all()

    @contextmanager
    def lease_again(self, name: str) -> Iterator[str | None]:
        """The adapter that wrote something earlier, loaded anew when it no longer serves."""
        with ExitStack() as held:
            with self._swap:
                if name != BASE and name not in self.engine.adapters():
                    with self._database.reading() as session:
                        path = registry.get_adapter(session, name).path
                    self._load(name, Path(path))
                adapter = held.enter_context(self.lease(name))
            yield adapter
        if name not in (BASE, self.adapter):
            self._drain_behind(name)

    def _chosen(self, wanted: str | None) -> str | None:
        if wanted is None:
            return self._current
        if wanted == BASE:
            return None
        if wanted not in self.engine.adapters():
            raise NotFound("loaded adapter", wanted)
        return wanted

    def start(self) -> None:
        """Load the champion of the record; when that fails the base serves and says why."""
        with self._database.reading() as session:
            champion = registry.champion(session)
        if champion is None:
            return
        try:
            self._load(champion.name, Path(champion.path))
            self._current = champion.name
        except EngineError as error:
            self.problem = f"Champion {champion.name} does not serve, the base does: {error}"
            log.error(self.problem)

    def promote(self, name: str, by: str, reason: str) -> str:
        """Make adapter `name` answer every turn that starts from now on; returns the one before.

        Raises NotFound or AdapterError, and then what served goes on serving.
        """
        with self._swap:
            with self._database.reading() as session:
                adapter = registry.get_adapter(session, name)
            if adapter.state == "rejected":
                raise AdapterError(
                    f"Adapter {name} was rejected by the gate and is never served. "
                    "`redraft retrain status` shows its report."
                )
            self._load(name, Path(adapter.path))
            with self._database.session() as session:
                registry.set_champion(session, name, by=by, reason=reason)
            return self._flip(name)

    def rollback(self, by: str, reason: str) -> str:
        """Put the previous champion back, the base when there was none; returns the one before."""
        with self._swap:
            with self._database.reading() as session:
                target = registry.previous_champion(session)
                path = registry.get_adapter(session, target).path if target else None
            if target and path:
                self._load(target, Path(path))
            with self._database.session() as session:
                registry.rollback(session, by=by, reason=reason)
            return self._flip(target)

    def _load(self, name: str, path: Path) -> None:
        if name in self.engine.adapters():
            return
        began = time.monotonic()
        self.engine.load_adapter(name, path)
        try:
            attest(self.engine, name)
        except EngineError:
            self.engine.unload_adapter(name)
            raise
        log.info("Adapter %s loaded and attested in %.1f s", name, time.monotonic() - began)

    def _flip(self, name: str | None) -> str:
        with self._state:
            previous, self._current = self._current, name
            self.problem = None
        log.info("Adapter in service: %s (before: %s)", name or BASE, previous or BASE)
        if previous is not None and previous != name:
            self._drain_behind(previous)
        return previous or BASE

    def _drain_behind(self, name: str) -> None:
        threading.Thread(target=self._drain, args=(name,), daemon=True).start()

    def _drain(self, name: str) -> None:
        with self._state:
            done = self._state.wait_for(lambda: self._writing[name] == 0, self._drain_seconds)
        if not done:
            log.warning("Adapter %s still writes after %.0f s", name, self._drain_seconds)
        with self._swap:
            idle = self._writing[name] == 0 or not done
            if idle and name != self._current and name in self.engine.adapters():
                self.engine.unload_adapter(name)


def attest(engine: Engine, name: str) -> None:
    """Prove that `name` answers with weights of its own: warm it, and compare it with the base.

    Raises AdapterError when it scores a probe exactly like the base, as an adapter that was
    silently not applied does.
    """
    prompt = engine.encode_chat([{"role": "user", "content": PROBE}])
    greedy = Sampling(max_tokens=PROBE_TOKENS, temperature=0)
    probe = [i for chunk in engine.generate(prompt, greedy, name) for i in chunk.token_ids]
    ours, bases = engine.score(prompt, probe, name), engine.score(prompt, probe)
    differences = [abs(a - b) for a, b in zip(ours, bases, strict=True)]
    if sum(differences) <= LEAST_DIFFERENCE * len(differences):
        raise AdapterError(
            f"Adapter {name} answers exactly like the base model, so its weights do nothing. It "
            "was not put into service; retrain, or check that it belongs to this base model."
        )
