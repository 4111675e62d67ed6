"""How finely a depth model looks at the pictures, and how the edges of its depth are treated. No dependencies."""

from typing import Literal

Detail = Literal["auto", "full", "reduced"]
""""full" is the size that the model was published with; "auto" is full on a GPU and reduced on the CPU."""

DepthEdges = Literal["snap", "refine", "off"]
"""How soft edges are treated: snapped to the picture's edges (`ex4d.depth.edges`), refined by a network
(`ex4d.depth.refinement`), or left alone. Both also move depth back that is offset from the
picture (`ex4d.depth.offset`)."""
