"""Camera tracks: files from any tool, fitted to the frames, lens and world of a shot. Needs only numpy."""
