"""Setting up a Python environment for the server on this machine, without a terminal."""
