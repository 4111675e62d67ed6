"""The add-on's own name as Blender knows it: an extension's differs from that of a source tree."""

PACKAGE = __package__
