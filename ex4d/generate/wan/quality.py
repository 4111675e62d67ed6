"""Quality levels of the EX-4D model. Needs no torch."""

from ex4d.generate.diffsynth.quality import Quality

QUALITIES: dict[str, Quality] = {
    quality.name: quality
    for quality in (
        Quality("final", 25, 5.0, 1.0, 0.0, False),
        Quality("balanced", 25, 5.0, 0.36, 0.5, True),
        Quality("draft", 4, 1.0, 0.0, 0.0, True),
    )
}
"""By name, best first."""
