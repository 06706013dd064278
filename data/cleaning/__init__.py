"""What leaves the pairs before they train: bad lengths, duplicates, and whatever an evaluation set holds."""
