"""What the add-on makes in a Blender scene: cameras, mesh, objects."""
