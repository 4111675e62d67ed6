"""Pictures in and out: clips, videos, contact sheets, optical flow."""
