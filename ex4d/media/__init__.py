"""Reading and writing clips, videos and images; contact sheets; optical flow."""
