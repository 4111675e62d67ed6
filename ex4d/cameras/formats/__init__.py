"""One module for each kind of camera file: its axes, units and lens, and where they are defined."""
