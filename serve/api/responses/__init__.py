"""OpenAI's Responses API: answers whose state is in the record."""

from serve.api.responses.routes import blueprint

__all__ = ["blueprint"]
