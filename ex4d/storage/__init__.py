"""Files on disk: atomic writes, .npz arrays, the user's cache folder."""
