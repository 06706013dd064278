"""Your code in, answers out."""
