"""Let ports here lead to the same ports of another machine, with what is sent arriving later: python long_way.py HERE
THERE SECONDS PORT... Not every kernel has netem, which does that to packets.
"""

import asyncio
import sys
from contextlib import suppress


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Send on what comes, in order, each part so much later than it came."""
    loop, parts = asyncio.get_running_loop(), asyncio.Queue(maxsize=256)

    async def deliver() -> None:
        part = b"x"
        while part:
            due, part = await parts.get()
            await asyncio.sleep(due - loop.time())
            writer.write(part)
            await writer.drain()
        writer.close()

    delivery = asyncio.ensure_future(deliver())
    part = b"x"
    while part:
        part = await reader.read(16384)
        await parts.put((loop.time() + seconds, part))
    await delivery


async def main(here: str, there: str, seconds: float, ports: list[int]) -> None:
    """Serve until killed."""
    for port in ports:

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port) -> None:
            far_reader, far_writer = await asyncio.open_connection(there, port)
            with suppress(OSError):
                await asyncio.gather(carry(reader, far_writer, seconds), carry(far_reader, writer, seconds))

        await asyncio.start_server(met, here, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
