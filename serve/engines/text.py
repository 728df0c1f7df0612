"""Token ids to text, step by step: never half a character, never a piece of a stop string."""

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"


class StopText:
    """Text that comes in pieces, with everything from the first stop string on cut off.

    `push` returns what may be shown at once: an end that could begin a stop string is held back
    until that is decided. `stopped_by` is the stop string once it came, `after` what followed it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped_by: str | None = None
        self.after = ""

    def push(self, piece: str) -> str:
        """Add a piece; returns the text that is certain now."""
        if not self._stops:
            return piece
        if self.stopped_by is not None:
            self.after += piece
            return ""
        text = self._held + piece
        at, stop = min(
            ((text.find(stop), stop) for stop in self._stops if stop in text), default=(-1, None)
        )
        if stop is not None:
            self.stopped_by, self.after, self._held = stop, text[at + len(stop) :], ""
            return text[:at]
        split = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[split:]
        return text[:split]

    def finish(self) -> str:
        """What was held back, when no more pieces come."""
        rest, self._held = self._held, ""
        return rest


class TextStream:
    """Turns one draft's tokens into text that may be shown at once, up to a stop string."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._text = StopText(stops)
        self._ids: list[int] = []
        self._start = 0  # first token of the decoding window
        self._read = 0  # characters of the window already taken

    @property
    def stopped_by(self) -> str | None:
        return self._text.stopped_by

    def push(self, token_id: int) -> str:
        """Add one token; returns the text that is certain now."""
        self._ids.append(token_id)
        window = self._decode(self._ids[self._start :])
        if window.endswith(UNFINISHED):
            return ""
        fresh, self._read = window[self._read :], len(window)
        if len(self._ids) - self._start > 32:
            # A short overlap keeps tokenizers that decode a leading space by context right.
            self._start = len(self._ids) - 4
            self._read = len(self._decode(self._ids[self._start :]))
        return self._text.push(fresh)

    def finish(self) -> str:
        """The rest, when the draft ends: a held-back start of a stop, but no half character."""
        window = self._decode(self._ids[self._start :]).rstrip(UNFINISHED)
        rest = self._text.push(window[self._read :])
        return rest + self._text.finish()


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
