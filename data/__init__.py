"""Where pairs come from: real code in, clean training pairs out."""
