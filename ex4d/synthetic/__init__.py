"""Generated footage with its ground truth, and depth with the errors that depth models make.

Scenes consist of textured solids and are ray cast; the entry point is `scenes.make(name)`. They are used by tests,
benchmarks and training. Needs the extra `render` (numba, OpenCV).
"""
