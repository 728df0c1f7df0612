"""From feedback to a better adapter: snapshot, curate, train, evaluate, gate, deploy."""
