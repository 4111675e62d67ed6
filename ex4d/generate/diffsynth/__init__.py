"""What video models of the Wan2.1 family share, which diffsynth runs: files, sizes, loading, sampling, whole shots.

Nothing here knows one model; each has a folder of its own beside this one.

    parts, files          model files that several models need; finding and converting those of one
    needs                 what is missing on this machine, and how much of the GPU's memory is needed
    quality               final, balanced, draft, and the sentence about each
    pictures              colour and mask in a size that the model takes
    library               diffsynth itself: importing it, loading its models, prompts
    video_model           blocks put in their places, sampling, encoding, decoding
    generator             a whole shot: windows, prompts, models that stay loaded
"""
