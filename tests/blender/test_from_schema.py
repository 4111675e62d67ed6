"""Blender's properties match the schema, and numbers survive the conversion."""

import announced
import bpy
import pytest

from blender_addon.ui import camera_operators, clip_operators, properties
from blender_addon.ui.from_schema import (
    NOT_GIVEN,
    from_blender,
    in_blender,
    items_of,
    label,
    property_of,
    shortest,
    tooltip,
)
from ex4d.pipeline.settings import SourceSettings
from ex4d.schema import Choice, Setting, describe

DRAWN = [
    (properties.SOURCE["depth_convention"], "depth_convention"),
    (properties.SOURCE["depth_distance"], "depth_distance"),
    (properties.SOURCE["depth_channel"], "depth_channel"),
    (properties.SOURCE["field_of_view"], "field_of_view"),
    (properties.SOURCE["estimator"], "estimator"),
    (properties.SOURCE["camera_scale"], "motion_scale"),
    (properties.PATH["cam"], "preset"),
    (properties.SOURCE["depth_detail"], "depth_detail"),
    (properties.PATH["amount"], "amount"),
    (properties.PATH["rise"], "rise"),
    (properties.SOURCE["zooms"], "zooms"),
    (properties.SOURCE["steady_depth"], "steady_depth"),
    (properties.SOURCE["depth_edges"], "depth_edges"),
    (properties.GENERATE["generator"], "generator"),
    (properties.GENERATE["seed"], "seed"),
    (properties.GENERATE["keep_source"], "keep_source"),
]


@pytest.mark.parametrize(("setting", "name"), DRAWN, ids=lambda value: value if isinstance(value, str) else "")
def test_what_the_panel_shows_is_the_schemas(scene, setting, name):
    drawn = scene.ex4d.bl_rna.properties[name]
    assert drawn.name == label(setting)
    assert drawn.description.startswith(tooltip(setting).removesuffix(f" ({setting.unit})"))
    assert setting.unit in drawn.description
    if setting.kind == "choice":
        assert [(i.identifier, i.name, i.description) for i in drawn.enum_items] == [
            (choice.value, choice.label, choice.help) for choice in setting.choices
        ]
        assert [item.value for item in drawn.enum_items] == list(range(len(setting.choices)))


@pytest.mark.parametrize("operator", [clip_operators.EX4D_OT_open_clip, camera_operators.EX4D_OT_camera_preset])
def test_what_buttons_ask_for_is_the_schemas(operator, addon):
    group, name = operator.bl_idname.split(".")
    drawn = getattr(getattr(bpy.ops, group), name).get_rna_type().properties
    wanted = {**properties.SOURCE, **properties.PATH, "preset": properties.PATH["cam"]}
    names = [name for name in drawn.keys() if name in wanted and name != "frames"]  # noqa: SIM118 - no mapping
    assert names
    for name in names:
        assert drawn[name].name == label(wanted[name])
        assert drawn[name].description.startswith(wanted[name].help.partition("; by default")[0])


def test_every_setting_of_a_source_can_be_chosen_in_blender_or_is_made_from_what_can():
    made = {"start", "frames", "step", "longest_side", "fps", "gaps", "accept_licence", "depth_unit", "focal_px"}
    made |= {"camera_motion"}  # from Camera Motion, which has more choices
    drawn = {setting.name for setting, _name in DRAWN}
    assert {setting.name for setting in describe(SourceSettings)} <= made | drawn


def group_of(setting, **more):
    """A property group with one property, registered; the caller unregisters its class."""
    group = type("EX4DTest", (bpy.types.PropertyGroup,), {"__annotations__": {"it": property_of(setting, **more)}})
    bpy.utils.register_class(group)
    bpy.types.Scene.ex4d_test = bpy.props.PointerProperty(type=group)
    return group


SETTINGS = (*announced.PAINTER.settings, Setting("both", "switch", None, "Both", "On, off or neither", optional=True))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_of_any_kind_becomes_a_property_with_its_default_range_and_words(setting, scene):
    group = group_of(setting)
    try:
        held, drawn = scene.ex4d_test, scene.ex4d_test.bl_rna.properties["it"]
        assert from_blender(setting, held.it) == setting.default
        assert held.it == in_blender(setting, setting.default)
        assert (drawn.name, drawn.description) == (setting.label, tooltip(setting))
        if setting.maximum is not None:
            held.it = type(held.it)(setting.maximum + 1)
            assert held.it == setting.maximum
        if setting.minimum is not None and not setting.optional:
            held.it = type(held.it)(setting.minimum - 1)
            assert held.it == setting.minimum
    finally:
        del bpy.types.Scene.ex4d_test
        bpy.utils.unregister_class(group)


def test_the_largest_number_that_blender_holds_is_the_end_of_a_range_beyond_it(scene):
    scene.ex4d.seed = 2**31 - 1
    assert scene.ex4d.seed == 2**31 - 1
    assert scene.ex4d.bl_rna.properties["seed"].hard_max == 2**31 - 1


def test_a_number_that_need_not_be_given_says_what_its_0_means(scene):
    drawn = scene.ex4d.bl_rna.properties
    assert drawn["field_of_view"].description == (
        "Horizontal field of view of the source; 0: that of the depth, otherwise 54 degrees along the longer side"
        " (degrees)"
    )
    assert drawn["part_side"].description.endswith("are scaled down; 0: the clip's own size (pixels)")
    assert "; 0: found from points in that file, or followed through the clip" in drawn["motion_scale"].description
    plain = Setting("plain", "whole", None, "Plain", "How many", unit="steps", optional=True)
    assert tooltip(plain) == "How many; 0: the default (steps)"
    every = [setting for kind in (properties.SOURCE, properties.PATH) for setting in kind.values()]
    optional = [s for s in every if s.optional and s.kind in ("whole", "number") and s.default is None]
    assert len(optional) > 5
    assert all("; 0: " in tooltip(setting) for setting in optional)


def test_an_optional_choice_has_an_item_for_not_given_before_the_others():
    assert [item[0] for item in items_of(announced.KERNEL)] == [NOT_GIVEN, "box"]
    assert from_blender(announced.KERNEL, NOT_GIVEN) is None
    assert in_blender(announced.KERNEL, None) == NOT_GIVEN
    plain = Setting("plain", "choice", "a", "Plain", "Which", choices=(Choice("a", "A"),))
    assert [item[0] for item in items_of(plain)] == ["a"]


@pytest.mark.parametrize("number", [0.36, 47.5, 1e-9, 12345.67])
def test_a_number_that_blender_rounds_is_the_number_that_was_typed(scene, number):
    scene.ex4d.depth_metres = number
    assert shortest(scene.ex4d.depth_metres) == number
