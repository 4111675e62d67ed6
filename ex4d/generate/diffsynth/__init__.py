"""Shared parts of the Wan2.1 video models, run by diffsynth: files, sizes, loading, sampling, whole shots.

Nothing here knows a particular model; each has its own folder next to this one.

    parts, files          model files that several models need; finding and converting those of one
    needs                 what is missing on this machine, and how much GPU memory is needed
    quality               final, balanced, draft, and the sentence about each
    pictures              colour and mask in a size that the model takes
    library               diffsynth itself: importing it, loading its models, prompts
    video_model           placing blocks, sampling, encoding, decoding
    generator             a whole shot: windows, prompts, models that stay loaded
"""
