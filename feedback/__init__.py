"""The record: what is needed to learn from a conversation later, nothing of the server."""
