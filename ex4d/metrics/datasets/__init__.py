"""Where results and what to compare them with lie on disk, by data set: each module makes cases of a folder."""
