"""Operators for what the 3D View shows: the source view, the footage, and the tint behind the mesh."""
# ruff: noqa: N801

import bpy
from bpy.props import EnumProperty

from ex4d.errors import InputError

from ..scene import backdrop, camera, footage, objects
from ..translations import told
from ..ui.operator import Safe, poll_shot


def view_of(context: bpy.types.Context) -> bpy.types.Area:
    """The 3D View under the mouse, else the largest one in the window.

    Raises:
        InputError: the window has none.
    """
    if context.area is not None and context.area.type == "VIEW_3D":
        return context.area
    areas = [area for area in context.window.screen.areas if area.type == "VIEW_3D"] if context.window else []
    if not areas:
        raise InputError(told("There is no 3D View in this window: open one, and press this again."))
    return max(areas, key=lambda area: area.width * area.height)


def looks_through_source(scene: bpy.types.Scene, space: bpy.types.SpaceView3D) -> bool:
    """Whether a 3D View looks through the source camera."""
    through = space.camera if space.use_local_camera else scene.camera
    looks = space.region_3d is not None and space.region_3d.view_perspective == "CAMERA"
    return looks and through is not None and through == objects.find(scene, objects.SOURCE_CAMERA)


class EX4D_OT_look_through_source(Safe):
    """Look through the source camera in this 3D View only; press again to return to the scene's camera"""

    bl_idname = "ex4d.look_through_source"
    bl_label = "Look Through Source"
    bl_options = {"REGISTER"}  # noqa: RUF012 - views have no undo

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Change the view."""
        scene, space = context.scene, view_of(context).spaces.active
        own = objects.find(scene, objects.SOURCE_CAMERA)
        if own is None:
            raise InputError(told("EX-4D Source Camera was deleted: press Open Again to restore it."))
        if looks_through_source(scene, space):
            space.use_local_camera = False
            if scene.camera == own and scene.ex4d.camera is not None:
                scene.camera = scene.ex4d.camera
        else:
            space.use_local_camera = True  # first: otherwise the scene's camera changes with the view's
            space.camera = own
        space.region_3d.view_perspective = "CAMERA"


class EX4D_OT_show_footage(Safe):
    """Show the footage unlit in this 3D View"""

    bl_idname = "ex4d.show_footage"
    bl_label = "Show Footage"
    bl_options = {"REGISTER"}  # noqa: RUF012

    shading: EnumProperty(
        name="Shading",
        description="Viewport shading to use",
        items=(
            (
                "MATERIAL",
                "Material",
                "Show every pixel with the footage's material, tinted where it has to be invented",
            ),
            (
                "SOLID",
                "Solid",
                "Faster: flat colours only, without the tint",
            ),
        ),
    )

    def act(self, context: bpy.types.Context) -> None:
        """Change the view."""
        shading = view_of(context).spaces.active.shading
        shading.type = self.shading
        if self.shading == "SOLID":
            shading.light, shading.color_type = "FLAT", "TEXTURE"
            mesh = objects.find(context.scene, objects.MESH)
            for material in mesh.data.materials if mesh is not None else ():
                if material is not None:
                    footage.drop_solid(material)


class EX4D_OT_tint_outside(Safe):
    """Show the tint behind everything the chosen camera sees, as the EX-4D Camera does; it is never rendered"""

    bl_idname = "ex4d.tint_outside"
    bl_label = "Tint Outside the Mesh"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Give the camera the tint."""
        backdrop.tint(camera.path_camera(context.scene).data)


CLASSES = (EX4D_OT_look_through_source, EX4D_OT_show_footage, EX4D_OT_tint_outside)
