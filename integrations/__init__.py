"""Small adapters to other people's programs, each equal to the model itself."""
