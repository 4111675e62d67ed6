"""The preview generator: no neural network."""
