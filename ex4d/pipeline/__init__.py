"""From a clip to a take: what the command line, the server's worker and the library all call."""
