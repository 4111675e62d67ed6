"""Where the camera that shot the clip was in every frame."""
