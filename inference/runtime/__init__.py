"""The fast path of a model: packed texts, merged and reordered weights, and no work that pooling does not read."""
