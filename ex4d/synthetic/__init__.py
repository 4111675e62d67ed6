"""Generated footage with the truth about it, and depth that is wrong as depth models make it.

Scenes are made of textured solids and ray cast; `scenes.make(name)` is the way in. They serve tests, benchmarks and
training. Needs the extra `render` (numba, OpenCV).
"""
