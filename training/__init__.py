"""From a recipe and its pairs to a trained model."""
