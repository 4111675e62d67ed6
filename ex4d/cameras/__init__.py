"""Camera tracks: files of any tool, brought to the frames, the lens and the world of a shot. Needs numpy alone."""
