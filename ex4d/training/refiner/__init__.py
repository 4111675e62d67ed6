"""Training the network that refines the edges of depth, on pictures that are generated during the training."""
