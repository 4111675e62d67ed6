"""From a clip to a take: the code that the command line, the server's worker and the library all call."""
