"""Files of model weights: where they are, whether they are whole, fetching and reading them safely."""
