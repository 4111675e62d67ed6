"""Making an environment for the server on this machine, without a terminal."""
