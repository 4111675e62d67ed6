"""EX-4D: shoot an existing video again from another camera.

Importing this package costs numpy and nothing heavier; modules import what they need themselves.
"""

__version__ = "0.1.0"
