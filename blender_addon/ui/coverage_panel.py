"""Part of the Check panel: live coverage, and the legend of what it draws."""

from ..ui.layout import Context, Layout
from ..work import session


def draw_coverage(layout: Layout, context: Context) -> None:
    """What the tint in the camera's view means, how strong it is, and how much of the frame shown is invented."""
    facts, coverage = context.scene.ex4d, session.current().coverage
    row = layout.row(align=True)
    row.prop(facts, "show_coverage")
    strength = row.row(align=True)
    strength.active = facts.show_coverage
    strength.prop(facts, "coverage_strength")
    layout.label(text="Magenta, striped: to be invented", icon="COLOR")
    if facts.show_coverage and (along := coverage.along):
        worst = max(along, key=lambda frame: along[frame])
        layout.label(text=f"At most {along[worst]:.0%}, in frame {facts.start + worst}", icon="GRAPH")
