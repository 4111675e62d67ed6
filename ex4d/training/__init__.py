"""Making an EX-4D adapter: simulated masks for ordinary videos, and the training itself."""
