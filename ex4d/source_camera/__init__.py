"""Where the camera that shot the clip stood in every frame."""
