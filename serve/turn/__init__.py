"""From a user's message to recorded drafts: window, routing, generation, recording."""
