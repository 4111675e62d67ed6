"""The coverage overlay in 3D Views: what has to be invented and what other frames saw, in views through the chosen
camera, and the camera's path in all others.

Draws only what `session.coverage` knows. The only module that uses Blender's `gpu`.
"""

import traceback
from collections.abc import Callable

import blf
import bpy
import gpu
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d
from gpu_extras.batch import batch_for_shader
from mathutils import Vector
from numpy.typing import NDArray

from ex4d.render import classes, legend

from ..scene import axes, camera, objects
from ..shot import live_coverage
from ..ui import coverage_shapes as shapes
from ..work import session
from ..work.looking import Found

Colour = tuple[float, float, float, float]

WHITE: Colour = (1.0, 1.0, 1.0, 1.0)
CURVE_PX, TEXT_PX = 36, 13
WIDTHS = (2.0, 4.0, 7.0)
"""Widths of the path in pixels, by warning level."""

_VERTEX = "void main() { at = uv; gl_Position = ModelViewProjectionMatrix * vec4(pos, 0.0, 1.0); }"
_FRAGMENT = f"""
void main() {{
  ivec2 size = textureSize(seen, 0);
  ivec2 texel = clamp(ivec2(at * vec2(size)), ivec2(0), size - 1);
  int what = int(texelFetch(seen, texel, 0).r * 255.0 + 0.5);
  if (what == {classes.INVENTED}) {{
    float along = mod(gl_FragCoord.x - gl_FragCoord.y, period);
    result = vec4(along < period * {legend.STRIPE_PART} ? stripe : invented, strength);
    return;
  }}
  bvec2 in_dot = lessThan(mod(gl_FragCoord.xy, dots), vec2(dots * {legend.DOT / legend.DOT_PERIOD}));
  if (what != {classes.BORROWED} || !all(in_dot)) {{ discard; }}
  result = vec4(borrowed, sqrt(strength)); // dots are small: less of what is behind them shows
}}
"""


class Overlay:
    """The draw handlers and their GPU data."""

    def __init__(self) -> None:
        self._handles: list[object] = []
        self._shader: gpu.types.GPUShader | None = None
        self._texture: tuple[Found, gpu.types.GPUTexture] | None = None
        self._curve: tuple[tuple, list[tuple[Colour, gpu.types.GPUBatch]]] | None = None
        self._path: tuple[tuple, dict[int, gpu.types.GPUBatch]] | None = None
        self._is_broken = False

    def add(self) -> None:
        """Start drawing in all 3D Views."""
        for draw, when in ((self._draw_pixels, "POST_PIXEL"), (self._draw_world, "POST_VIEW")):
            self._handles.append(bpy.types.SpaceView3D.draw_handler_add(self._guarded, (draw,), "WINDOW", when))

    def remove(self) -> None:
        """Stop drawing."""
        for handle in self._handles:
            bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
        self._handles.clear()
        self._shader = self._texture = self._curve = self._path = None

    def _guarded(self, draw: Callable[[bpy.types.Context, bpy.types.PropertyGroup], None]) -> None:
        """Call a draw function; if it fails, print the error once and stop drawing, so that the view stays usable."""
        context = bpy.context
        facts, space = context.scene.ex4d, context.space_data
        if not facts.show_coverage:
            self._is_broken = False  # turning it on again retries
        if self._is_broken or not facts.shot or not facts.show_coverage or not space.overlay.show_overlays:
            return
        if context.scene != live_coverage.scene_shown():
            return
        try:
            draw(context, facts)
        except Exception:
            self._is_broken = True
            traceback.print_exc()

    # -- the chosen camera's view

    def _draw_pixels(self, context: bpy.types.Context, facts: bpy.types.PropertyGroup) -> None:
        if not live_coverage.is_shown(context.scene, context.space_data):
            return
        now = session.current()
        now.look(context.scene)
        frame = _camera_frame(context, facts.camera)
        if frame is None:
            return
        found, scale = now.coverage.found, context.preferences.system.ui_scale
        gpu.state.blend_set("ALPHA")
        if found is not None:
            self._draw_tint(found, frame, facts.coverage_strength, scale)
        visible = shapes.visible(frame, context.region.width, context.region.height)
        if visible is not None:
            place = shapes.curve_in(visible, CURVE_PX * scale)
            self._draw_curve(now.coverage, facts, context.scene.frame_current, place)
            _write(shapes.label(found.invented if found is not None else None, now.coverage.problem), place, scale)
        gpu.state.blend_set("NONE")

    def _draw_tint(self, found: Found, frame: shapes.Rect, strength: float, scale: float) -> None:
        if self._shader is None:
            self._shader = _make_shader()
        if self._texture is None or self._texture[0] is not found:
            self._texture = found, _texture_of(found.classes())
        shader = self._shader
        uv = [(0, 1), (1, 1), (1, 0), (0, 1), (1, 0), (0, 0)]
        batch = batch_for_shader(shader, "TRIS", {"pos": frame.triangles, "uv": uv})
        shader.bind()
        to_screen = gpu.matrix.get_projection_matrix() @ gpu.matrix.get_model_view_matrix()
        shader.uniform_float("ModelViewProjectionMatrix", to_screen)
        shader.uniform_float("invented", legend.as_floats(legend.INVENTED))
        shader.uniform_float("stripe", legend.as_floats(legend.STRIPE))
        shader.uniform_float("strength", strength)
        shader.uniform_float("period", legend.PERIOD * scale)
        shader.uniform_float("borrowed", legend.as_floats(legend.BORROWED))
        shader.uniform_float("dots", legend.DOT_PERIOD * scale)
        shader.uniform_sampler("seen", self._texture[1])
        batch.draw(shader)

    def _draw_curve(
        self,
        coverage: live_coverage.LiveCoverage,
        facts: bpy.types.PropertyGroup,
        scene_frame: int,
        place: shapes.Rect,
    ) -> None:
        """Draw how much of each frame has to be invented."""
        shader, frames = gpu.shader.from_builtin("UNIFORM_COLOR"), facts.frames
        key = (coverage.version, frames, place)
        if self._curve is None or self._curve[0] != key:
            batches = [((0.0, 0.0, 0.0, 0.8), _filled(shader, [place]))]
            for level, rects in shapes.bars(coverage.along, frames, place).items():
                batches += [((*legend.as_floats(legend.LEVELS[level]), 1.0), _filled(shader, rects))] if rects else []
            self._curve = key, batches if coverage.along else []
        marker = _filled(shader, [shapes.marker(facts.frame_of(scene_frame), frames, place)])
        shader.bind()
        for colour, batch in [*self._curve[1], (WHITE, marker)] if self._curve[1] else []:
            shader.uniform_float("color", colour)
            batch.draw(shader)

    # -- other views

    def _draw_world(self, context: bpy.types.Context, facts: bpy.types.PropertyGroup) -> None:
        if live_coverage.is_shown(context.scene, context.space_data):
            return
        coverage, root = session.current().coverage, objects.find(context.scene, objects.ROOT)
        to_world = camera.matrix_of(root) if root is not None else np.eye(4)
        shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
        key = (coverage.version, facts.frames, to_world.tobytes())
        if self._path is None or self._path[0] != key:
            pieces = shapes.pieces(_places(coverage, facts.frames, to_world), coverage.along)
            batches = {lv: batch_for_shader(shader, "LINES", {"pos": ends}) for lv, ends in pieces.items() if ends}
            self._path = key, batches
        shader.bind()
        shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
        gpu.state.blend_set("ALPHA")
        gpu.state.depth_test_set("LESS_EQUAL")
        for level, batch in self._path[1].items():
            shader.uniform_float("lineWidth", WIDTHS[level] * context.preferences.system.ui_scale)
            shader.uniform_float("color", (*legend.as_floats(legend.LEVELS[level]), 1.0))
            batch.draw(shader)
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


def _places(coverage: live_coverage.LiveCoverage, frames: int, to_world: NDArray) -> dict[int, shapes.Place]:
    """Position of the camera in the world, by frame, as far as known."""
    looks = {t: look for t in range(frames) if (look := coverage.place(t)) is not None}
    if not looks:
        return {}
    poses = np.array([look.camera_to_world for look in looks.values()]).reshape(-1, 4, 4)
    places = (to_world @ axes.pose_to_blender(poses))[:, :3, 3].tolist()
    return dict(zip(looks, map(tuple, places), strict=True))


def _camera_frame(context: bpy.types.Context, chosen: bpy.types.Object) -> shapes.Rect | None:
    """The camera's frame in pixels of the region; None if it is out of view."""
    matrix = chosen.matrix_world.normalized()
    far = 10 * chosen.data.clip_start
    corners = [matrix @ (Vector(corner) * far) for corner in chosen.data.view_frame(scene=context.scene)]
    points = [location_3d_to_region_2d(context.region, context.region_data, corner) for corner in corners]
    return None if any(point is None for point in points) else shapes.rect_around([tuple(p) for p in points])


def _filled(shader: gpu.types.GPUShader, rects: list[shapes.Rect]) -> gpu.types.GPUBatch:
    return batch_for_shader(shader, "TRIS", {"pos": [(x, y, 0.0) for rect in rects for x, y in rect.triangles]})


def _write(text: str, place: shapes.Rect, scale: float) -> None:
    """Draw a line of text above the curve."""
    blf.size(0, TEXT_PX * scale)
    blf.color(0, *WHITE)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 3, 0.0, 0.0, 0.0, 1.0)
    blf.position(0, place.left + 8 * scale, place.top + 8 * scale, 0)
    blf.draw(0, text)
    blf.disable(0, blf.SHADOW)


def _texture_of(seen: np.ndarray) -> gpu.types.GPUTexture:
    """A texture of pixel classes (H,W), one byte each."""
    values = np.ascontiguousarray(seen, np.float32).ravel() / 255
    height, width = seen.shape
    return gpu.types.GPUTexture((width, height), format="R8", data=gpu.types.Buffer("FLOAT", len(values), values))


def _make_shader() -> gpu.types.GPUShader:
    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "ModelViewProjectionMatrix")
    info.push_constant("VEC3", "invented")
    info.push_constant("FLOAT", "strength")
    info.push_constant("VEC3", "stripe")
    info.push_constant("FLOAT", "period")
    info.push_constant("VEC3", "borrowed")
    info.push_constant("FLOAT", "dots")
    info.sampler(0, "FLOAT_2D", "seen")
    info.vertex_in(0, "VEC2", "pos")
    info.vertex_in(1, "VEC2", "uv")
    between = gpu.types.GPUStageInterfaceInfo("ex4d_coverage")
    between.smooth("VEC2", "at")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "result")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)
