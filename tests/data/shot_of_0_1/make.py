"""The script that made the files beside it: .blend files that version 0.1 saved, with all that it stores.

It was run at commit 77a147b with that version's code and cannot be run against later code, which stores other
properties. It is kept to tell what is in the files and how it came there:

    export HOME=/tmp folder=/tmp/shot_of_0_1
    .venv-bpy-4.2.23/bin/python tests/data/shot_of_0_1/make.py make $folder saved_by_4_2.blend .venv/bin/python
    .venv-bpy-5.0.1/bin/python tests/data/shot_of_0_1/make.py make $folder saved_by_5_0.blend .venv/bin/python
    cp -r $folder/. tests/data/shot_of_0_1

Afterwards each file was compared with expected.json, in fresh processes of bpy 4.2.23, 4.5.15 and 5.0.1 (4.2 cannot
read what 5.0 saved):

    .venv-bpy-4.5.15/bin/python tests/data/shot_of_0_1/make.py check tests/data/shot_of_0_1/saved_by_4_2.blend

What a file holds: `Scene` with a shot whose own camera moved and zoomed, the result of real jobs of a real server;
`Settings 0` and on, without a shot, which between them store every item of every enum, the default ones too; and
`Untouched`, which stores nothing. Each file has a shot of its own in the folder ex4d, as each was made by its Blender.

In expected.json `values` are as Python sees them (enums by identifier, pointers by name), `stored` names what the
file holds (all else is a default), and `numbers` are the enums as the file holds them.
"""

import json
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY))

import bpy  # noqa: E402, I001 (Blender's own modules can be found only after bpy)
import addon_utils  # noqa: E402
import numpy as np  # noqa: E402

WIDTH, HEIGHT, FRAMES, FPS, START = 32, 16, 5, Fraction(30000, 1001), 11


def main(what: str, *arguments: str) -> int:
    """Do it with the add-on enabled; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="shot_of_0_1_user_") as user:
        os.environ["BLENDER_USER_RESOURCES"] = user
        bpy.ops.wm.read_homefile(use_factory_startup=True)
        addon_utils.enable("blender_addon", default_set=True)
        try:
            return {"make": make, "check": check}[what](*arguments)
        finally:
            addon_utils.disable("blender_addon", default_set=True)


# -- make -------------------------------------------------------------------------------------------


def make(folder: str, name: str, server_python: str) -> int:
    """Make the shot and its takes, fill in everything else, save, and add to expected.json."""
    blend, clip = Path(folder) / name, Path(folder) / "walk.mp4"
    blend.parent.mkdir(parents=True, exist_ok=True)
    write_clip(clip)
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    settings.python, settings.address = server_python, f"tcp://127.0.0.1:{free_port()}"
    bpy.context.preferences.filepaths.save_version = 0
    scene = bpy.context.scene
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), compress=True)
    bpy.ops.ex4d.server_start()
    try:
        make_takes(scene, clip)
        ask_for_another_clip(scene, clip.with_name("another.mp4"))
    finally:
        bpy.ops.ex4d.server_stop()
    fill_in(scene, bpy.app.version)
    make_other_scenes(scene)
    # Brushes only take room; in 5.0 the factory file's own materials say where Blender is installed.
    bpy.data.batch_remove([*bpy.data.brushes, *(m for m in bpy.data.materials if m.name != "EX-4D Footage")])
    bpy.ops.wm.save_mainfile(compress=True)
    file = blend.with_name("expected.json")
    expected = json.loads(file.read_text()) if file.exists() else {}
    expected[name] = {"saved_by": bpy.app.version_string, **told(numbers=True)}
    file.write_text(json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    return 0


def write_clip(clip: Path) -> None:
    """A wavy wall with a box before it that moves to the right, seen by a lens that zooms in; with its depth."""
    from ex4d.movie import write_movie

    if clip.exists():
        return
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    depth = np.stack([8 + np.sin(x / 9 + t / 5) + y / HEIGHT for t in range(FRAMES)])
    for t in range(FRAMES):
        depth[t, HEIGHT // 3 : 2 * HEIGHT // 3, WIDTH // 4 + t : WIDTH // 2 + t] = 4 + 0.02 * t
    near = depth / 10
    colours = np.stack([0.2 * near, 0.3 + 0.6 * near, 0.9 - 0.6 * near], axis=-1)
    write_movie(clip, (colours * 255).astype(np.uint8), FPS)
    focal = [WIDTH * (1.1 + 0.01 * t) for t in range(FRAMES)]
    k = np.array([[[f, 0, WIDTH / 2], [0, f, HEIGHT / 2], [0, 0, 1]] for f in focal])
    np.savez_compressed(clip.with_name("walk.depth.npz"), depth=depth, intrinsics=k)


def make_takes(scene: bpy.types.Scene, clip: Path) -> None:
    """Open the clip, whose camera moves as one of the scene does, and make two takes and a view."""
    facts = scene.ex4d
    scene.frame_start = START
    tracked = bpy.data.objects.new("Tracked", bpy.data.cameras.new("Tracked"))
    scene.collection.objects.link(tracked)
    tracked.rotation_euler = (np.pi / 2, 0, 0)
    for t in range(FRAMES):
        tracked.location = (0.05 * t, 0.08 * t, 0.01 * t)
        tracked.keyframe_insert("location", frame=START + t)
    facts.motion, facts.tracked_camera = "CAMERA", tracked
    bpy.ops.ex4d.open_clip(filepath=str(clip))
    facts.generator, facts.seed = "preview", 7
    bpy.ops.ex4d.camera_preset(preset="30")
    bpy.ops.ex4d.generate()
    facts.seed, facts.keep_source = 8, False
    bpy.ops.ex4d.camera_preset(preset="60", amount=50, rise=0.1)
    bpy.ops.ex4d.generate()
    bpy.ops.ex4d.preview()


def ask_for_another_clip(scene: bpy.types.Scene, missing: Path) -> None:
    """Ask for a clip that is not there: the settings are put aside for it, and the shot stays."""
    with suppress(RuntimeError):
        bpy.ops.ex4d.open_clip(filepath=str(missing))
    assert scene.ex4d.clip_path == str(missing)
    assert scene.ex4d.aside


def fill_in(scene: bpy.types.Scene, version: tuple[int, ...]) -> None:
    """Give what still has its default another value, in part another in each file.

    `job_id` and `request` are those of a job that no version follows when it opens the file: its kind is unknown.
    """
    facts, early = scene.ex4d, version < (5, 0, 0)
    facts.match_scene = False
    facts.estimator = "depthcrafter" if early else "video-depth-anything"
    facts.depth_path = "//depth of it/é.exr"
    facts.depth_unit = "other" if early else "mm"
    facts.depth_metres = 0.3048
    facts.depth_convention = "disparity" if early else "inverse"
    facts.depth_distance = "ray"
    facts.depth_channel = "ViewLayer.Depth.Z"
    facts.field_of_view = 47.5
    facts.motion = "CAMERA" if early else "FILE"
    facts.motion_path = "//walk camera.npz"
    facts.known_distance = 2.75
    facts.preset = "zoom_out" if early else "180"  # sets `amount`
    facts.amount = 0.35 if early else 33.0
    facts.rise = -0.15
    facts.seed = 2**31 - 1
    facts.generator = "wan" if early else "preview"
    facts.quality = "draft" if early else "balanced"
    facts.model_size = "832x480"
    facts.keep_source = False
    facts.take_index = 1
    facts.job_id = "0123456789abcdef0123456789abcdef"
    facts.request = json.dumps({"kind": "RequestOfAnotherVersion", "shot": facts.shot})


def make_other_scenes(scene: bpy.types.Scene) -> None:
    """Scenes without a shot: every item of every enum is stored in one of them, and in one nothing at all."""
    enums = [p for p in scene.ex4d.bl_rna.properties if p.type == "ENUM"]
    for number in range(max(len(p.enum_items) for p in enums)):
        facts = bpy.data.scenes.new(f"Settings {number}").ex4d
        for p in enums:
            setattr(facts, p.identifier, p.enum_items[number % len(p.enum_items)].identifier)
    bpy.data.scenes.new("Untouched")


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- tell what is there -----------------------------------------------------------------------------


def told(numbers: bool) -> dict:
    """All that the open file holds; `numbers`: the enums as they are stored, too."""
    return {"scenes": {scene.name: told_of_scene(scene, numbers) for scene in bpy.data.scenes}}


def told_of_scene(scene: bpy.types.Scene, numbers: bool) -> dict:
    """The properties of a scene, and of a shot also its objects and strips."""
    from blender_addon import compat

    facts = scene.ex4d
    stored = raw(scene)  # before any pointer is read, which stores it; `is_property_set` is true of every one
    found = {
        "values": values_of(facts),
        "stored": sorted(stored),
        "takes": [values_of(take) for take in facts.takes],
        "frame_range": [scene.frame_start, scene.frame_end],
        "rate": [scene.render.fps, scene.render.fps_base],
        "objects": {o["ex4d_role"]: told_of_object(o) for o in scene.objects if "ex4d_role" in o},
        "strips": [told_of_strip(strip) for strip in compat.all_strips(scene)],
    }
    if numbers:
        enums = {p.identifier for p in facts.bl_rna.properties if p.type == "ENUM"}
        found["numbers"] = {name: number for name, number in stored.items() if name in enums}
    return found


def values_of(group: bpy.types.PropertyGroup) -> dict:
    """Every property but the collections, as plain JSON: pointers by name."""
    plain = {}
    for p in group.bl_rna.properties:
        if p.type == "COLLECTION" or p.identifier == "rna_type":
            continue
        value = getattr(group, p.identifier)
        plain[p.identifier] = value.name if p.type == "POINTER" and value is not None else value
    return plain


def raw(scene: bpy.types.Scene) -> dict:
    """What is stored for the scene, as it is stored."""
    if bpy.app.version < (5, 0, 0):
        return scene["ex4d"].to_dict() if "ex4d" in scene else {}
    stored = scene.bl_system_properties_get()
    return stored["ex4d"].to_dict() if stored is not None and "ex4d" in stored else {}


def told_of_object(thing: bpy.types.Object) -> dict:
    """Name, place and keyed frames of one of the shot's objects."""
    owners = [thing, thing.data] if thing.type == "CAMERA" else [thing]
    curves = {
        f"{curve.data_path}[{curve.array_index}]": [point.co[0] for point in curve.keyframe_points]
        for owner in owners
        for curve in curves_of(owner)
    }
    return {
        "name": thing.name,
        "type": thing.type,
        "shot": thing["ex4d_shot"],
        "parent": thing.parent.name if thing.parent else None,
        "keys": curves,
        "caches": [m.filepath for m in thing.modifiers if m.type == "MESH_CACHE"],
    }


def curves_of(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """F-curves of an object or a camera's data, which since 4.4 share an action and have a slot each."""
    data = owner.animation_data
    if data is None or data.action is None:
        return []
    if not hasattr(data.action, "layers"):
        return list(data.action.fcurves)
    bags = [strip.channelbag(data.action_slot) for layer in data.action.layers for strip in layer.strips]
    return [curve for bag in bags if bag is not None for curve in bag.fcurves]


def told_of_strip(strip: bpy.types.bpy_struct) -> dict:
    """Place and file of a strip, and its custom properties."""
    from blender_addon import compat

    start, end = compat.strip_range(strip)
    own = {name: strip[name] for name in strip.keys() if name.startswith("ex4d_")}  # noqa: SIM118 (no mapping)
    return {
        "name": strip.name,
        "channel": strip.channel,
        "start": start,
        "length": end - start,
        "filepath": strip.filepath,
        "properties": {n: value.to_list() if hasattr(value, "to_list") else value for n, value in own.items()},
    }


# -- check ------------------------------------------------------------------------------------------


def check(blend: str) -> int:
    """Load a file and compare it with expected.json; its paths must lead to files beside it."""
    from blender_addon import session

    expected = json.loads(Path(blend).with_name("expected.json").read_text())[Path(blend).name]
    del expected["saved_by"]
    for scene in expected["scenes"].values():
        del scene["numbers"]
    bpy.ops.wm.open_mainfile(filepath=blend)
    assert not session.current().busy
    found = json.loads(json.dumps(told(numbers=False)))
    different = list(differences(expected, found, ""))
    for path in sorted(set(bpy.utils.blend_paths(absolute=True))):
        if not Path(path).is_file():
            different.append(f"{path} is not there")
    scene = bpy.context.scene
    assert scene.ex4d.folder.parent == Path(blend).resolve().parent / "ex4d"
    print(f"{Path(blend).name} in {bpy.app.version_string}:", *(different or ["as expected"]), sep="\n  ")
    return 1 if different else 0


def differences(expected: object, found: object, where: str) -> Iterator[str]:
    """What differs, a line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted({*expected, *found}):
            yield from differences(expected.get(name), found.get(name), f"{where}/{name}")
    elif expected != found:
        yield f"{where}: {found!r} instead of {expected!r}"


if __name__ == "__main__":
    try:
        status = main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # bpy 4.2 crashes when Python ends
