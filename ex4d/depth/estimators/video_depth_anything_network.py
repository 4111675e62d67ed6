"""Video-Depth-Anything (arXiv 2501.12375; the small model is Apache-2.0): disparity of a clip, steady in time.

A DINOv2 encodes every frame on its own; the head that turns its tokens into disparity also attends along time, over
windows of 32 frames. A window starts with ten frames from the window before, and the disparity of two of them brings it
to the same scale (section 3.3). The last window is padded with the last frame. Here every frame goes through the DINOv2
only once, however many windows include it, and padding is not decoded at full size; the result is the same as the
publication's. The classes use the names in the published files, so these load without renaming.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ex4d.networks.assembly import assemble, ready
from ex4d.networks.dinov2 import PATCH, SHAPES, BackboneShape, DINOv2
from ex4d.progress import VIDEO_DEPTH, Progress, silent
from ex4d.weights.tensors import read_tensors

NAME = "Video-Depth-Anything weights"
"""Name of the file in messages."""

WINDOW = 32
CARRIED = (0, 12, 24, 25, 26, 27, 28, 29, 30, 31)
"""Frames of a window that the next window starts with; the last eight are consecutive."""

STEP = WINDOW - len(CARRIED)
BLENDED = 8
"""Number of frames over which one window blends into the next."""

SHORT_SIDE = 518
"""Shorter side in pixels of the pictures that the model sees, as published."""

REDUCED_SIDE = 392
"""The same when time matters more; the model accepts any multiple of 14."""

_WIDEST = 1.78
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HEADS = 8
_AT_ONCE, _AT_ONCE_ON_CPU = 8, 4
"""Frames that go through the image encoder and the finest layers at once, to limit memory use; on the CPU smaller
batches are as fast, and progress is reported more often."""

_ENCODING, _FINISHING = 3, 1
"""Approximate shares of the image encoder and the finest layers in the time of a frame, for progress."""

Advance = Callable[[int], None]
"""Called with the amount of work done since the last call."""


@dataclass(frozen=True)
class Shape:
    """Shape of the whole network; the defaults are the small model's.

    Attributes:
        backbone: of the image encoder.
        taps: blocks of the encoder whose tokens the head uses.
        channels: of the head at each of the taps, fine to coarse; the last two are multiples of 32.
        features: of the head after that; a multiple of 32.
    """

    backbone: BackboneShape = SHAPES["dinov2_vits14"]
    taps: tuple[int, ...] = (2, 5, 8, 11)
    channels: tuple[int, ...] = (48, 96, 192, 384)
    features: int = 64


SMALL = Shape()


def disparity(
    frames: NDArray[np.uint8],
    weights: Path,
    device: str = "cpu",
    *,
    short_side: int = SHORT_SIDE,
    progress: Progress = silent,
) -> Iterator[NDArray[np.float32]]:
    """Estimate relative disparity of a clip, frame by frame; memory does not grow with its length.

    Args:
        frames: (T,H,W,3) uint8.
        weights: file of the small model, as published or as .safetensors.
        device: a torch device: "cpu", "cuda", "mps".
        short_side: shorter side in pixels of the pictures that the model sees; see `working_size`.
        progress: called as frames are finished, and when all are.

    Yields:
        (H,W) float32, larger is nearer, not below 0; one scale and shift for the whole clip.

    Raises:
        InputError: the file is missing, damaged, truncated, or of another model.
    """
    return estimated(frames, load(weights, device), progress, short_side)


def estimated(
    frames: NDArray[np.uint8], model: "VideoDepthAnything", progress: Progress = silent, short_side: int = SHORT_SIDE
) -> Iterator[NDArray[np.float32]]:
    """Like `disparity`, with a model that is already loaded."""
    joined = stitched(_windows(frames, model, progress, short_side))
    for _, frame in zip(range(len(frames)), joined, strict=False):  # the last window is padded
        yield frame


def working_size(height: int, width: int, short_side: int = SHORT_SIDE) -> tuple[int, int]:
    """Height and width of the pictures that the model sees: multiples of 14.

    Args:
        height, width: of the pictures.
        short_side: of the result, a multiple of 14; it is reduced for very long pictures.
    """
    ratio = max(height, width) / min(height, width)
    short = short_side if ratio <= _WIDEST else round(int(short_side * 1.777 / ratio) / PATCH) * PATCH
    scale = short / min(height, width)
    rows, columns = (max(short, round(side * scale / PATCH) * PATCH) for side in (height, width))
    return rows, columns


def _windows(
    frames: NDArray[np.uint8], model: "VideoDepthAnything", progress: Progress, short_side: int
) -> Iterator[NDArray[np.float32]]:
    """Disparity (32,H,W) of one window after another, each in its own scale.

    Padding of the last window is a copy of its last real frame, and is not used.
    """
    count, (height, width) = len(frames), frames.shape[1:3]
    size = working_size(height, width, short_side)
    windows = list(window_numbers(count))
    steps = _ENCODING * count + _FINISHING * sum(_used(numbers, count) for numbers in windows)
    done = 0

    def advance(work: int) -> None:
        nonlocal done
        done += work
        progress(VIDEO_DEPTH, count * done // steps, count)

    encoded: dict[int, tuple[Tensor, ...]] = {}  # tokens of this window's frames at the taps
    for numbers in windows:
        shown = list(dict.fromkeys(np.minimum(numbers, count - 1).tolist()))
        new = [number for number in shown if number not in encoded]
        encoded = {number: tokens for number, tokens in encoded.items() if number in shown}
        with torch.inference_mode():
            for part in range(0, len(new), model.at_once):
                chosen = new[part : part + model.at_once]
                tapped = model.encoded(_shown(frames[chosen], size).to(next(model.parameters())))
                encoded |= {number: tuple(level[n] for level in tapped) for n, number in enumerate(chosen)}
                advance(_ENCODING * len(chosen))
            levels = zip(*(encoded[min(number, count - 1)] for number in numbers.tolist()), strict=True)
            used = _used(numbers, count)
            seen = model.decoded([torch.stack(level) for level in levels], size, used, advance)
            seen = functional.interpolate(seen[:, None].float(), (height, width), mode="bilinear", align_corners=True)[
                :, 0
            ]
        yield seen.cpu().numpy()[np.minimum(np.arange(WINDOW), used - 1)]


def window_numbers(count: int) -> Iterator[NDArray[np.intp]]:
    """Frame numbers (32,) of each window; those from `count` on are padding, and look like the last frame."""
    numbers = np.arange(WINDOW)
    alone = WINDOW - BLENDED  # number of frames that the first window covers alone
    for start in range(0, max(count - alone + STEP, 1), STEP):
        if start:
            numbers = np.concatenate([numbers[list(CARRIED)], np.arange(start + len(CARRIED), start + WINDOW)])
        yield numbers


def _used(numbers: NDArray[np.intp], count: int) -> int:
    """Number of frames in a window that are not padding."""
    return int((numbers < count).sum())


def _shown(frames: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Prepare frames for the model: (N,3,h,w) float32, normalised."""
    import cv2

    resized = np.empty((len(frames), *size, 3), np.float32)
    for frame, into in zip(frames, resized, strict=True):
        cv2.resize(frame.astype(np.float32) / 255, size[::-1], dst=into, interpolation=cv2.INTER_CUBIC)
    resized -= np.array(_MEAN, np.float32)
    resized /= np.array(_DEVIATION, np.float32)
    return torch.from_numpy(resized).permute(0, 3, 1, 2)


def stitched(windows: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Stitch the disparity of windows together into one disparity for the clip.

    Each window has its own scale and shift. Its first two frames are frames 0 and 12 of the window before, whose
    disparity is already known: least squares over their pixels give both. Over the frames that both windows have, one
    blends into the other.

    Args:
        windows: (32,H,W) each, not below 0.

    Yields:
        (H,W), all frames from the first window's first to the last window's last.
    """
    known: NDArray[np.float32] | None = None  # frames 0 and 12 of the previous window, in the scale of the clip
    waiting: NDArray[np.float32] | None = None  # its last frames
    for window in windows:
        if known is None or waiting is None:
            known = window[list(CARRIED[:2])].copy()
            yield from window[:-BLENDED]
        else:
            scale, shift = _fitted(window[:2], known)
            window = np.maximum(window * np.float32(scale) + np.float32(shift), 0)
            shares = np.linspace(0, 1, BLENDED, dtype=np.float32)[:, None, None]
            overlap = window[len(CARRIED) - BLENDED : len(CARRIED)]
            yield from waiting * (1 - shares) + overlap * shares
            yield from window[len(CARRIED) : -BLENDED]
            # Frame 0 of every window is the clip's first frame, so its disparity never drifts.
            known = np.stack([known[0], window[CARRIED[1]]])
        waiting = window[-BLENDED:]
    if waiting is not None:
        yield from waiting


def _fitted(values: NDArray[np.float32], target: NDArray[np.float32]) -> tuple[float, float]:
    """Fit scale and shift of `values` to `target` by least squares; 1 and 0 if all values are equal."""
    x, y = values.astype(np.float64).ravel(), target.astype(np.float64).ravel()
    spread = x - x.mean()
    power = spread @ spread
    if power == 0:
        return 1.0, 0.0
    scale = float(spread @ y / power)
    return scale, float(y.mean() - scale * x.mean())


def load(path: Path, device: str = "cpu", shape: Shape | None = None) -> "VideoDepthAnything":
    """Load the network from the published file or its .safetensors; half precision on a GPU.

    Args:
        path: the file.
        device: a torch device.
        shape: None is the small model.

    Raises:
        InputError: missing, damaged, truncated, or of another model.
    """
    tensors = read_tensors(path, NAME)
    with torch.device("meta"):
        model = VideoDepthAnything(shape or SMALL)
    assemble(model, tensors, NAME, path)
    model = ready(model, device)
    model.at_once = _AT_ONCE_ON_CPU if torch.device(device).type == "cpu" else _AT_ONCE
    model.head.scratch.output_conv2.float()
    return model


# --- the network ---


class VideoDepthAnything(nn.Module):
    """Predicts the disparity of a window of frames."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.taps, self.at_once = shape.taps, _AT_ONCE
        self.pretrained = DINOv2(shape.backbone)
        self.head = _Head(shape)

    def encoded(self, pictures: Tensor) -> list[Tensor]:
        """Tokens (N,C,rows,columns) at each tap for normalised pictures (N,3,h,w), both sides multiples of 14."""
        grid = tuple(side // PATCH for side in pictures.shape[-2:])
        return [tokens.mT.unflatten(2, grid) for tokens, _ in self.pretrained(pictures, self.taps)]

    def decoded(self, levels: list[Tensor], size: tuple[int, int], used: int, advance: Advance) -> Tensor:
        """Disparity (`used`,h,w), not below 0, of the first frames of a window.

        Args:
            levels: tokens (T,C,rows,columns) of the whole window at each tap.
            size: height and width of the pictures.
            used: number of frames to decode.
            advance: called as they are finished.
        """
        return self.head(levels, size, used, self.at_once, advance)


class _Head(nn.Module):
    """The pyramid of the dense prediction transformer (arXiv 2103.13413), with temporal layers at four places."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        first, second, third, fourth = shape.channels
        self.projects = nn.ModuleList(nn.Conv2d(shape.backbone.dim, channels, 1) for channels in shape.channels)
        self.resize_layers = nn.ModuleList(
            (
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
            )
        )
        self.scratch = _Scratch(shape)
        self.motion_modules = nn.ModuleList(
            _AlongTime(channels) for channels in (third, fourth, shape.features, shape.features)
        )

    def forward(self, levels: list[Tensor], size: tuple[int, int], used: int, at_once: int, advance: Advance) -> Tensor:
        """Disparity (`used`,h,w) at `size` from the tokens (T,C,rows,columns) of the four taps."""
        layers = zip(self.resize_layers, self.projects, levels, strict=True)
        first, second, third, fourth = (resize(project(level)) for resize, project, level in layers)
        third, fourth = self.motion_modules[0](third), self.motion_modules[1](fourth)
        parts = self.scratch
        first, second, third = parts.layer1_rn(first), parts.layer2_rn(second), parts.layer3_rn(third)
        x = self.motion_modules[2](parts.refinenet4(parts.layer4_rn(fourth), None, third.shape[-2:]))
        x = self.motion_modules[3](parts.refinenet3(x, third, second.shape[-2:]))
        finest = []
        parts_of = (level[:used].split(at_once) for level in (x, second, first))
        for coarse, middle, fine in zip(*parts_of, strict=True):
            finest.append(self._finest(coarse, middle, fine, size))
            advance(_FINISHING * len(finest[-1]))
        return torch.cat(finest)

    def _finest(self, x: Tensor, second: Tensor, first: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.scratch.refinenet2(x, second, first.shape[-2:])
        x = self.scratch.refinenet1(x, first, (2 * first.shape[-2], 2 * first.shape[-1]))
        x = functional.interpolate(self.scratch.output_conv1(x), size, mode="bilinear", align_corners=True)
        return self.scratch.output_conv2(x.float())[:, 0]  # last layers in full precision, as published


class _Scratch(nn.Module):
    """The part of the pyramid with this name in the files."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.features
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(channels, width, 3, padding=1, bias=False) for channels in shape.channels
        )
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (_Fusion(width) for _ in range(4))
        self.output_conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(width // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
        )


class _Fusion(nn.Module):
    """Adds a finer level to the coarser ones and upsamples the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, 1)
        self.resConfUnit1, self.resConfUnit2 = _Residual(width), _Residual(width)

    def forward(self, coarse: Tensor, fine: Tensor | None, size: tuple[int, int]) -> Tensor:
        if fine is not None:
            coarse = coarse + self.resConfUnit1(fine)
        x = functional.interpolate(self.resConfUnit2(coarse), size, mode="bilinear", align_corners=True)
        return self.out_conv(x)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.relu(self.conv1(functional.relu(x))))


class _AlongTime(nn.Module):
    """Lets every position in the picture attend to itself in the window's other frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = _TemporalTransformer(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.temporal_transformer(x)


class _TemporalTransformer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([_TemporalBlock(channels)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The residual to add to x (T,C,h,w)."""
        height, width = x.shape[-2:]
        # Positions are the batch, frames the sequence.
        tokens = self.proj_in(self.norm(x).flatten(2).permute(2, 0, 1))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return self.proj_out(tokens).permute(1, 2, 0).unflatten(2, (height, width))


class _TemporalBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(_TemporalAttention(channels) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.ff = _GatedPerceptron(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class _TemporalAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pos_encoder = _Moments(channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Attention over tokens (positions, T, C)."""
        x = x + self.pos_encoder.pe[:, : x.shape[1]]
        q, k, v = (to(x).unflatten(2, (_HEADS, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Moments(nn.Module):
    """Positional embedding of the frames in time; sinusoidal in the published files."""

    pe: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("pe", torch.zeros(1, WINDOW, channels))


class _GatedPerceptron(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([_Gate(channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class _Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)

    def forward(self, x: Tensor) -> Tensor:
        values, gate = self.proj(x).chunk(2, -1)
        return values * functional.gelu(gate)
