"""Quality levels of VACE. Needs no torch."""

from ex4d.generate.diffsynth.quality import Quality

QUALITIES: dict[str, Quality] = {
    quality.name: quality
    for quality in (
        Quality("final", 50, 5.0, 1.0, 0.0, False),
        Quality("balanced", 30, 5.0, 0.5, 0.5, True),
        Quality("draft", 10, 5.0, 0.5, 0.0, True),
    )
}
"""By name, best first; `final` has the steps and the guidance of VACE's own examples."""
