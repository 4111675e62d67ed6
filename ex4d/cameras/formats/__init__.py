"""One module for each kind of camera file, with its axes, units and lens, and where they are defined."""
