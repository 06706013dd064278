"""The fast path of a model: packed texts, reordered weights, no work that pooling does not read."""
