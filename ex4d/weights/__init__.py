"""Files of model weights: where they are, whether they are complete, downloading and reading them safely."""
