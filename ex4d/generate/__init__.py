"""Generators: from conditioning to the finished video. `registry` finds them, `base` defines what each one is."""
