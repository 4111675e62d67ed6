"""How much may be sent: limits for both ends of the wire."""

JOB_FILES = 2000
"""Maximum number of files of one job; their names and hashes are sent in one message."""

CONTROL_BYTES = 256 * 1024
"""Maximum size of a message without file content; larger ones are not read at all."""

CURVE_BYTES = 64
"""Maximum number of bytes that encryption adds to a frame."""

CHUNK_BYTES = 512 * 1024
"""Maximum size of the file content in one `Put` or `Chunk`."""

CREDIT = 32
"""Maximum number of chunks in transit to or from one client."""

PICTURE_BYTES = 16 * 1024
"""Maximum size of the JPEG that comes with an event and shows what is being made."""

VIEW_PIXELS = 1 << 18
"""Maximum number of pixels in a view that shows what is real from a camera's current position."""

VIEW_BYTES = VIEW_PIXELS // 4 + 4096
"""Maximum size of such a view: two bits per pixel, and zlib's overhead for data that it cannot compress."""

MESSAGE_FRAMES = 4
"""Maximum number of frames in one message, including the address that ZeroMQ adds."""

HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 2000, 8000

MOVING_BUDGET_S, MOVING_INTERVAL_S = 0.012, 0.002
"""How long to let `Client.poll` work, and how long to wait after it, while it is `moving` files over the socket."""
