"""What one browser tab is doing; the record itself lives in the API only."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from serve.page.api_types import Conversation, Reason, Started
from serve.page.languages import DEFAULT, Words
from serve.page.thread import Exchange, exchanges

_REMEMBERED = 40  # gestures whose outcome is still told to the tab


@dataclass
class Live:
    """An answer that is being written, was stopped, or failed."""

    query: str
    drafts: int
    past: int  # exchanges above it; an exchange at this place is being answered again
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)  # reasoning, where it comes unasked
    started: Started | None = None
    error: str = ""
    stopped: bool = False
    settled: bool = False  # nothing more will come
    changed: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.texts = [""] * self.drafts
        self.thoughts = [""] * self.drafts

    @property
    def running(self) -> bool:
        return not self.error and not self.stopped


@dataclass(frozen=True)
class Thought:
    """The reasoning under an answer: shown or folded, as far as it is written, and its problem."""

    open: bool = True
    running: bool = False
    text: str = ""
    error: str = ""


FOLDED = Thought(open=False)


@dataclass
class Session:
    """The state of one tab: which conversation, what is in progress, what was just said."""

    conversation: Conversation | None = None
    live: Live | None = None
    chosen: dict[str, str] = field(default_factory=dict)  # exchange -> completion shown
    versions: dict[str, str] = field(default_factory=dict)  # turn -> exchange shown after it
    notes: dict[str, str] = field(default_factory=dict)  # completion or turn -> a line under it
    thoughts: dict[str, Thought] = field(default_factory=dict)  # completion -> its reasoning
    done: dict[str, str] = field(default_factory=dict)  # gesture -> "" or what went wrong
    notice: str = ""
    reasons: tuple[Reason, ...] = ()  # what thumbs can be explained with
    detail: str = ""  # the completion whose thumb is asked about
    clicks: dict[tuple[str, str], int] = field(default_factory=dict)  # thumb -> its newest click
    stopped: str = ""  # the completion that was stopped, while nothing came of it
    consent: bool | None = None  # None: not known, so there is nothing to switch
    deleted: tuple[str, str] = ("", "")  # id and title of what can be brought back
    owner: str = ""  # the token of the session under which the tab was begun
    who: str = ""  # the person's name, where there is a login
    role: str = ""
    search: str = ""
    limit: int = 50
    utc_offset: int = 0  # minutes east of Greenwich
    language: str = DEFAULT
    view: int = 0
    revision: int = 0
    writes: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def words(self) -> Words:
        """What to say to this person."""
        return Words(self.language)

    @property
    def path(self) -> list[Exchange]:
        """What of the conversation is shown, from above to below."""
        return exchanges(self.conversation, self.chosen, self.versions)

    @property
    def conversation_id(self) -> str:
        if self.conversation:
            return self.conversation.id
        started = self.live.started if self.live else None
        return started.conversation_id if started else ""

    def next_revision(self) -> int:
        """A number above all earlier ones, those before a restart of the page too."""
        self.revision = max(self.revision + 1, int(time.time() * 1000))
        return self.revision

    def outrun(self, completion: str, part: str, click: int) -> bool:
        """Whether a later click on these thumbs came in before this one."""
        newest = self.clicks.get((completion, part), 0)
        self.clicks[completion, part] = max(newest, click)
        return click < newest

    def show(self, conversation: Conversation | None) -> None:
        """Turn to another conversation, or to a new one; an answer in progress is stopped."""
        if self.live:
            self.live.stop.set()
        self.conversation, self.live, self.notice, self.detail = conversation, None, "", ""
        self.stopped = ""
        self.chosen, self.versions, self.notes, self.thoughts = {}, {}, {}, {}
        self.view += 1

    def begin(self, owner: str) -> None:
        """Forget what another person saw here."""
        self.show(None)
        self.owner, self.who, self.role, self.search, self.done = owner, "", "", "", {}
        self.consent, self.deleted = None, ("", "")

    def finish(self, gesture: str, problem: str = "") -> None:
        """Tell the tab that a gesture has ended, well or with a problem in words."""
        if gesture:
            self.done[gesture] = problem
        for old in list(self.done)[:-_REMEMBERED]:
            del self.done[old]
