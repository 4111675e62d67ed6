"""The preview: a generator without a neural network."""
