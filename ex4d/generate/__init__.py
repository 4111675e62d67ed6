"""Generators: from conditioning to the finished video. `registry` finds them, `base` says what each of them is."""
