"""What a model is trained towards: the objective, its terms, and how they are computed within memory."""
