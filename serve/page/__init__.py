"""The chat page: Gradio in a process of its own, a pure client of the HTTP API."""
