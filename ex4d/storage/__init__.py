"""Files on disk: atomic writes, .npz and .npy arrays, names and image sequences, the user's cache folder."""
