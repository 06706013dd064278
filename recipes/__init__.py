"""One TOML file a model, and the typed schema they are read into."""
