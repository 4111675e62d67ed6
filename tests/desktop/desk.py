"""Hands and eyes at a real Blender window, for a story that is told inside Blender.

Labels are found in a picture of the screen, and only mouse and keys act. Blender's own text renderer draws a label at
the size that the interface has, and normalised cross-correlation finds it: above 0.95 where it is, some 0.6 elsewhere.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import blf
import bpy
import gpu
import numpy as np
from mathutils import Matrix

FONT_POINTS = 11
SURE = 0.88
"""Correlation from which on a label is taken for found; an underlined letter costs some."""

LOOK_S = 0.7
SETTLE_S = 0.6
"""What Blender gets to redraw after an event."""

RESULT = "result.txt"

Story = Iterator[float]


class NotSeenError(Exception):
    """A label did not come into sight."""


def drawn(label: str, sideways: bool) -> np.ndarray:
    """The label in white on black as the interface draws it, (h,w) float64; `sideways` as on tabs, downwards."""
    size = FONT_POINTS * bpy.context.preferences.system.ui_scale
    blf.size(0, size)
    width, height = int(blf.dimensions(0, label)[0]) + 6, int(size * 2)
    target = gpu.types.GPUOffScreen(width, height)
    with target.bind():
        buffer = gpu.state.active_framebuffer_get()
        buffer.clear(color=(0.0, 0.0, 0.0, 1.0))
        gpu.matrix.push()
        gpu.matrix.push_projection()
        to_screen = ((2 / width, 0, 0, -1), (0, 2 / height, 0, -1), (0, 0, 1, 0), (0, 0, 0, 1))
        gpu.matrix.load_matrix(Matrix(to_screen))
        gpu.matrix.load_projection_matrix(Matrix.Identity(4))
        gpu.state.blend_set("ALPHA")
        blf.position(0, 2, int(height * 0.3), 0)
        blf.color(0, 1.0, 1.0, 1.0, 1.0)
        blf.draw(0, label)
        gpu.matrix.pop_projection()
        gpu.matrix.pop()
        pixels = np.array(buffer.read_color(0, 0, width, height, 4, 0, "UBYTE").to_list(), np.float64)
    target.free()
    picture = pixels.reshape(height, width, 4)[::-1, :, 0]
    rows, columns = np.flatnonzero(picture.max(1) > 30), np.flatnonzero(picture.max(0) > 30)
    inked = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.rot90(inked, -1) if sideways else inked


def correlation(screen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation (H-h+1,W-w+1) of a picture (H,W) with a smaller one (h,w)."""
    h, w = wanted.shape
    kernel = wanted - wanted.mean()
    size = (screen.shape[0] + h, screen.shape[1] + w)
    product = np.fft.rfft2(screen, size) * np.fft.rfft2(kernel[::-1, ::-1], size)
    product = np.fft.irfft2(product, size)[h - 1 : screen.shape[0], w - 1 : screen.shape[1]]

    def sums(values: np.ndarray) -> np.ndarray:
        total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]

    spread = sums(screen**2) - sums(screen) ** 2 / (h * w)
    return product / np.sqrt(np.maximum(spread, h * w) * (kernel**2).sum())


class Desk:
    """One screen, one mouse, one keyboard.

    Attributes:
        clicks, drags, keys: what the hands have done so far.
        filmed: pictures of a film that were kept so far.
    """

    def __init__(self, pictures: Path) -> None:
        self.pictures = pictures
        self.clicks = self.drags = self.keys = self.filmed = 0
        self.began = time.monotonic()

    def colours(self) -> np.ndarray:
        """What is on the screen, (H,W,3) float64, 0 to 255."""
        ppm = subprocess.run(["import", "-window", "root", "-depth", "8", "ppm:-"], check=True, capture_output=True)
        _sign, size, _most, pixels = ppm.stdout.split(b"\n", 3)
        width, height = (int(number) for number in size.split())
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).astype(np.float64)

    def screen(self) -> np.ndarray:
        """What is on the screen, (H,W) float64, grey."""
        return self.colours().mean(2)

    def picture(self, name: str) -> None:
        """Keep what is on the screen as `name`.png."""
        path = self.pictures / f"{name}.png"
        subprocess.run(["import", "-window", "root", str(path)], check=True)
        print(f"picture {path.name}", flush=True)

    def find(self, label: str, sideways: bool = False) -> tuple[int, int] | None:
        """Centre of the topmost place where the screen shows the label; None where it does not."""
        wanted = drawn(label, sideways)
        found = np.abs(correlation(self.screen(), wanted))  # dark text on light, too
        rows, columns = np.nonzero(found > max(SURE, found.max() - 0.02))
        if not len(rows):
            return None
        return int(columns[0] + wanted.shape[1] / 2), int(rows[0] + wanted.shape[0] / 2)

    def see(self, label: str, patience: float = 10.0, sideways: bool = False) -> Iterator[float]:
        """Wait until the screen shows the label; returns where.

        Raises:
            NotSeenError: it did not, in `patience` seconds. The picture is kept.
        """
        end = time.monotonic() + patience
        while (place := self.find(label, sideways)) is None:
            if time.monotonic() > end:
                self.picture("not_seen")
                raise NotSeenError(f"{label!r} did not come into sight in {patience:g} s: see not_seen.png")
            yield LOOK_S
        return place

    def wait(self, happens: Callable[[], bool], what: str, patience: float) -> Story:
        """Wait until something holds.

        Raises:
            NotSeenError: it did not come true.
        """
        end = time.monotonic() + patience
        while not happens():
            if time.monotonic() > end:
                self.picture("not_seen")
                raise NotSeenError(f"{what}: not in {patience:g} s, see not_seen.png")
            yield 0.2

    def ends(self, trouble: str) -> None:
        """Leave the result of the story, "" or what went wrong, for `run.py`."""
        (self.pictures / RESULT).write_text(trouble, encoding="utf-8")

    def move(self, x: int, y: int) -> Story:
        """Move the pointer."""
        self._hands("mousemove", x, y)
        yield 0.2

    def click(self, label: str, patience: float = 10.0, sideways: bool = False) -> Story:
        """Click on a label once it is in sight."""
        x, y = yield from self.see(label, patience, sideways)
        print(f"{time.monotonic() - self.began:6.1f} s  click {label}", flush=True)
        yield from self.move(x, y)
        self._hands("mousemove", x + 1, y)
        yield 0.2
        self._hands("click", 1)
        self.clicks += 1
        yield SETTLE_S

    def press(self, key: str) -> Story:
        """Press a key, named as X does."""
        print(f"{time.monotonic() - self.began:6.1f} s  key {key}", flush=True)
        self.hit(key)
        yield SETTLE_S

    def hit(self, key: str) -> None:
        """Press a key without waiting for what comes of it."""
        self._hands("key", key)
        self.keys += 1

    def scroll_to(self, label: str, x: int, y: int) -> Story:
        """Turn the wheel down over a place of the screen until a label is in sight.

        Raises:
            NotSeenError: it never was.
        """
        yield from self.move(x, y)
        for _ in range(20):
            if self.find(label) is not None:
                return
            self._hands("click", 5)
            yield SETTLE_S
        self.picture("not_seen")
        raise NotSeenError(f"{label!r} is nowhere in the panel: see not_seen.png")

    def drag(self, button: int, x: int, y: int, steps: int) -> Story:
        """Hold a button down and move the pointer by (x, y) in so many steps; gives way after each."""
        self._hands("mousedown", button)
        yield 0.2
        for _ in range(steps):
            self._hands("mousemove_relative", "--", x // steps, y // steps)
            yield 0.3
        self._hands("mouseup", button)
        self.drags += 1
        yield SETTLE_S

    def drop(self, file: Path, x: int, y: int) -> Story:
        """Drag a file from a file manager to a place of the screen."""
        print(f"{time.monotonic() - self.began:6.1f} s  drop {file.name}", flush=True)
        yield from self.move(x, y)
        script = Path(__file__).with_name("drop.py")
        hand = subprocess.Popen([os.environ["DESK_PYTHON"], str(script), str(file), str(x), str(y)])
        self.drags += 1
        while hand.poll() is None:  # Blender has to answer while the hand waits
            yield 0.1
        if hand.returncode:
            self.picture("not_seen")
            raise NotSeenError(f"{file.name} could not be dropped: see not_seen.png")
        yield SETTLE_S

    def _hands(self, *words: object) -> None:
        subprocess.Popen(["xdotool", *(str(word) for word in words)])


def tell(story: Story, desk: Desk) -> None:
    """Step a story from Blender's own timer, which goes on while files are loaded; whatever it raises is its result."""

    def step() -> float | None:
        try:
            return next(story)
        except StopIteration:
            desk.ends("")
        except Exception as error:
            desk.ends(f"{type(error).__name__}: {error}")
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(step, first_interval=1.0, persistent=True)
