"""Making an EX-4D adapter: ordinary videos with simulated masks, and the training itself."""
