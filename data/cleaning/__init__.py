"""What is removed from pairs before training: bad lengths, duplicates, and texts of evaluation sets."""
