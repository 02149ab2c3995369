"""One page for a browser from a receiver's SQLite: what models and devices did. Nothing is fetched or run."""
