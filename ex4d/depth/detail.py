"""How finely a depth model looks at the pictures, and what happens to the edges of its depth. Needs nothing."""

from typing import Literal

Detail = Literal["auto", "full", "reduced"]
"""Full is the size that the model was published with; "auto" is full on a GPU and reduced on the CPU."""

DepthEdges = Literal["snap", "refine", "off"]
"""What happens to soft edges: snapped to the picture's (`ex4d.depth.edges`), refined by a network
(`ex4d.depth.refinement`), or nothing."""
