"""Which adapter answers now, and how a new one takes its place without a request noticing."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from feedback import adapters as registry
from feedback.adapters import Canary
from feedback.database import Database
from feedback.errors import NotFound
from feedback.split import percent, takes_canary
from feedback.tables import CANARY, CHAMPION, Adapter, Conversation
from serve.engines.adapter_folder import check_base
from serve.engines.base import BASE, AdapterError, Engine, EngineError, Sampling

log = logging.getLogger("redraft")

PROBE = "What can you help me with?"
PROBE_TOKENS = 8
LEAST_DIFFERENCE = 1e-4  # mean absolute log-probability, between an adapter and the base


class Serving:
    """Champion and canary in the engine, the answers that are being written, and the swaps.

    Swap: load under the new immutable name, warm, attest, record, flip, drain, unload.
    """

    def __init__(self, engine: Engine, database: Database, drain_seconds: float) -> None:
        self.engine = engine
        self._database = database
        self._drain_seconds = drain_seconds
        self._current: str | None = None
        self._canary: Canary | None = None
        self._troubles: dict[int, str] = {}  # by the place that is not filled as recorded
        self._writing: Counter[str | None] = Counter()
        self._state = threading.Condition()
        self._swap = threading.Lock()

    @property
    def adapter(self) -> str:
        """Name of the adapter that answers now, `base` while none serves."""
        return self._current or BASE

    @property
    def problem(self) -> str | None:
        """Why something else serves than the record says; None where all is well."""
        return " ".join(self._troubles.values()) or None

    @property
    def canary(self) -> Canary | None:
        """The adapter that answers a share of the conversations beside it."""
        return self._canary

    @contextmanager
    def lease(
        self, wanted: str | None = None, conversation: Conversation | None = None
    ) -> Iterator[str | None]:
        """The adapter for one turn; it stays loaded until the block ends, also over a swap.

        Only a turn of a conversation may get the canary, and then each turn of it does.
        """
        with self._state:
            adapter = self._chosen(wanted, conversation)
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
                if name != BASE:
                    self._load(name)
                    held.callback(self._leave_behind, name)  # also when a client hangs up
                adapter = held.enter_context(self.lease(name))
            yield adapter

    def _chosen(self, wanted: str | None, conversation: Conversation | None) -> str | None:
        if wanted is None:
            return self._routed(conversation)
        if wanted == BASE:
            return None
        if wanted not in self.engine.adapters():
            raise NotFound("loaded adapter", wanted)
        return wanted

    def _routed(self, conversation: Conversation | None) -> str | None:
        canary = self._canary
        if canary is None or conversation is None or conversation.created_at < canary.since:
            return self._current
        taken = takes_canary(conversation.id, canary.name, canary.share)
        return canary.name if taken else self._current

    def start(self) -> None:
        """Load champion and canary of the record; what fails does not serve, and it says why."""
        with self._database.reading() as session:
            champion, canary = registry.champion(session), registry.canary(session)
        if champion and self._starts(CHAMPION, champion):
            self._current = champion.name
        if canary and self._starts(CANARY, canary):
            self._canary = canary

    def _starts(self, place: int, adapter: Adapter | Canary) -> bool:
        try:
            self._load(adapter.name)
        except EngineError as error:
            what, instead = ("Champion", "base") if place == CHAMPION else ("Canary", "champion")
            why = f"{what} {adapter.name} does not serve, the {instead} does: {error}"
            self._troubles[place] = why
            log.error(why)
            return False
        return True

    def promote(
        self,
        name: str,
        by: str,
        reason: str,
        facts: Mapping[str, Any] | None = None,
        expected: str | None = None,
        champion: str | None = None,
    ) -> str:
        """Make adapter `name` answer every turn that starts from now on; returns the one before.

        A canary ends with it. Raises NotFound, AdapterError, or Conflict where it is not in the
        state that is expected, or was judged against another `champion` (`base`: none) than serves,
        and then what served goes on serving.
        """
        with self._swap:
            self._load_fit(name, champion)
            with self._database.session() as session:
                if expected is not None:
                    registry.expect(session, name, expected)
                if champion is not None:
                    registry.expect_champion(session, name, champion)
                registry.set_champion(session, name, by=by, reason=reason, facts=facts)
            self._troubles.clear()
            return self._flip(name, None)

    def put_canary(
        self, name: str, share: float, by: str, reason: str, champion: str | None = None
    ) -> Canary:
        """Give adapter `name` a share of the conversations that begin from now on.

        It takes the place of another canary. Raises NotFound, Invalid, AdapterError, or Conflict,
        also where it was judged against another `champion` than serves, and then what served goes
        on serving.
        """
        with self._swap:
            self._load_fit(name, champion)
            with self._database.session() as session:
                if champion is not None:
                    registry.expect_champion(session, name, champion)
                registry.set_canary(session, name, share, by=by, reason=reason)
                canary = cast(Canary, registry.canary(session))
            self._troubles.pop(CANARY, None)
            self._flip(self._current, canary)
            return canary

    def retire(
        self, name: str, by: str, reason: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Take the canary out: the champion answers its conversations. Raises Conflict."""
        with self._swap:
            with self._database.session() as session:
                registry.retire_canary(session, name, by=by, reason=reason, facts=facts)
            self._troubles.pop(CANARY, None)
            self._flip(self._current, None)

    def rollback(self, by: str, reason: str) -> str:
        """Take back what came last, canary or champion; returns its name.

        Behind a champion stands the one before it, the base when there was none.
        """
        with self._swap:
            with self._database.reading() as session:
                canary = registry.canary(session)
                target = self._current if canary else registry.previous_champion(session)
            if target:
                self._load(target)
            with self._database.session() as session:
                registry.rollback(session, by=by, reason=reason)
            self._troubles.pop(CANARY if canary else CHAMPION, None)
            previous = self._flip(target, None)
            return canary.name if canary else previous

    def _load_fit(self, name: str, champion: str | None) -> None:
        with self._database.session() as session:
            if champion is not None:  # asked again when it is recorded; here it saves the loading
                registry.expect_champion(session, name, champion)
            rejected = registry.get_adapter(session, name).state == "rejected"
        if rejected:
            raise AdapterError(
                f"Adapter {name} was rejected by the gate and is never served. "
                "`redraft retrain status` shows its report."
            )
        self._load(name)

    def _load(self, name: str) -> None:
        if name in self.engine.adapters():
            return
        with self._database.reading() as session:
            found = registry.get_adapter(session, name)
        # A folder of another tool has no manifest that says so: the record does.
        check_base(name, found.base_model, self.engine.model)
        began = time.monotonic()
        self.engine.load_adapter(name, Path(found.path))
        try:
            attest(self.engine, name)
        except EngineError:
            self.engine.unload_adapter(name)
            raise
        log.info("Adapter %s loaded and attested in %.1f s", name, time.monotonic() - began)

    def _flip(self, name: str | None, canary: Canary | None) -> str:
        with self._state:
            before = [self._current, self._canary.name if self._canary else None]
            self._current, self._canary = name, canary
        beside = f", canary {canary.name} on {percent(canary.share)}" if canary else ""
        log.info("Adapter in service: %s%s (before: %s)", name or BASE, beside, before[0] or BASE)
        for gone in filter(None, before):
            self._leave_behind(gone)
        return before[0] or BASE

    def _serves(self, name: str) -> bool:
        return name == self._current or (self._canary is not None and name == self._canary.name)

    def _leave_behind(self, name: str) -> None:
        """Unload the adapter behind its last answer, unless it serves."""
        if not self._serves(name):
            threading.Thread(target=self._drain, args=(name,), daemon=True).start()

    def _drain(self, name: str) -> None:
        with self._state:
            done = self._state.wait_for(lambda: self._writing[name] == 0, self._drain_seconds)
        if not done:
            log.warning("Adapter %s still writes after %.0f s", name, self._drain_seconds)
        with self._swap:
            idle = self._writing[name] == 0 or not done
            if idle and not self._serves(name) and name in self.engine.adapters():
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
