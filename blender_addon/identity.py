"""The add-on's package name as Blender knows it, which for an extension differs from that in the source tree."""

PACKAGE = __package__
