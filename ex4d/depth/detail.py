"""How finely a depth model looks at the pictures. Needs nothing."""

from typing import Literal

Detail = Literal["auto", "full", "reduced"]
"""Full is the size that the model was published with; "auto" is full on a GPU and reduced on the CPU."""
