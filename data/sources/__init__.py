"""Public sources of training pairs and evaluation sets, as typed rows, and the code that reads them."""
