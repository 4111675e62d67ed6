"""Jobs, sources and records of takes written by version 0.1, in today's form."""

from typing import Any

MODEL = "wan"
"""Name of the only model in 0.1, whose jobs hold that model's settings beside their own."""


def source(old: dict[str, Any]) -> dict[str, Any]:
    """A source of 0.1 as today's `requests.Source`, both plain; one that is in today's form is returned unchanged."""
    if "settings" in old:
        return old
    reading = old.get("reading") or {}
    unit = reading.get("unit")
    settings = {
        "start": old.get("start", 0),
        "frames": old.get("frames", 49),
        "longest_side": old.get("longest_side"),
        "fps": old.get("fps"),
        "estimator": old.get("estimator", "auto"),
        "accept_licence": old.get("accept_licence", False),
        "depth_unit": None if unit is None else repr(unit),
        "depth_convention": reading.get("convention", "depth"),
        "depth_distance": reading.get("distance", "planar"),
        "depth_channel": reading.get("channel"),
        "field_of_view": old.get("field_of_view"),
    }
    # Only image folders had their own rate; their names were not stored.
    folder = "clip" if old.get("fps") is not None else None
    files = {name: old.get(name, default) for name, default in (("clip", []), ("depth", []), ("camera", None))}
    return {**files, "settings": settings, "folder": folder}


def job(old: dict[str, Any]) -> dict[str, Any]:
    """A `generate` job of 0.1 as today's, both plain."""
    generation = {name: old[name] for name in ("generator", "seed", "keep_source", "fps") if name in old}
    options = {name: old[name] for name in ("quality", "model_size") if name in old}
    return {
        "kind": "generate",
        "source": source(old["source"]),
        "path": old["path"],
        "generation": {**generation, "options": {MODEL: options} if options else {}},
    }


def record(old: dict[str, Any]) -> dict[str, Any]:
    """The record of a take by 0.1 (format 1) as today's, both plain."""
    quality = old["settings"].get("quality", "")
    title = "Preview" if old["is_preview"] else f"EX-4D, {quality} quality" if quality else "EX-4D"
    return {**old, "job": job(old["job"]), "title": title, "format": 2}
