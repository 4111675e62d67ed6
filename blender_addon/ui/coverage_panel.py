"""Part of the Check panel: live coverage and its legend."""

from ex4d.render import legend

from ..shot import placed_plate, takes
from ..translations import told
from ..ui.layout import Context, Layout, say
from ..work import session


def draw_coverage(layout: Layout, context: Context) -> None:
    """Draw the switch and the strength of the tint, its legend, and the worst frame of the path."""
    facts, coverage = context.scene.ex4d, session.current().coverage
    row = layout.row(align=True)
    row.prop(facts, "show_coverage")
    strength = row.row(align=True)
    strength.active = facts.show_coverage
    strength.prop(facts, "coverage_strength")
    layout.label(text="Striped magenta: to be invented", icon="COLOR")
    if facts.persistence != "off" and coverage.asks_others:
        layout.label(text="Amber dots: seen by other frames", icon="BLANK1")
    if facts.show_coverage and takes.uses_plate(facts):
        _draw_plate(layout, context, coverage.lacks_plate)
    if facts.show_coverage and (along := coverage.along):
        worst = max(along, key=lambda frame: along[frame])
        part = f"{along[worst]:.0%}"
        if part != "0%":
            text = told("Worst in frame {frame}: {part}", part=part, frame=facts.start + worst)
            layout.label(text=text, icon="GRAPH", translate=False)
        much, most = f"{1 - legend.MUCH_INVENTED:.0%}", f"{1 - legend.MOST_INVENTED:.0%}"
        text = told("Path: pink > {much}, magenta > {most}", much=much, most=most)
        layout.label(text=text, icon="BLANK1", translate=False)


def _draw_plate(layout: Layout, context: Context, is_missing: bool) -> None:
    """Say so if Live Coverage does not count the clean plate, for instance because the server lost its placement."""
    placed = placed_plate.of(context.scene.ex4d)
    if placed is None:
        say(layout, context, told("Live Coverage does not count the clean plate yet: press Preview Path."), "INFO")
    elif not placed:
        text = told("The clean plate was not used, so Live Coverage does not count it: see the take's notes.")
        say(layout, context, text, "INFO")
    elif is_missing:
        say(layout, context, told("This server does not have the clean plate: press Preview Path."), "INFO")
