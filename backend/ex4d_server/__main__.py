"""`python -m ex4d_server`: the server alone, without the rest of the command line."""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from ex4d.errors import EX4DError
from ex4d.jobs.address import DEFAULT_ADDRESS
from ex4d_server.executor import Deadlines
from ex4d_server.server import serve


def main() -> int:
    """Serve; if that is impossible, print one sentence and return 2."""
    parser = argparse.ArgumentParser(prog="python -m ex4d_server", description="The EX-4D server.")
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help="address to listen on; port 0 takes any free port")
    parser.add_argument(
        "--files-port", type=int, metavar="PORT", help="port for files (default: see ex4d serve --help)"
    )
    parser.add_argument("--state", type=Path, help="folder for jobs, files and logs (default: the user's own)")
    parser.add_argument(
        "--linger",
        type=float,
        metavar="SECONDS",
        help="end this many seconds after the last client and job (default: never)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="jobs at a time (default: one for each GPU, or one)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="Ray cluster whose machines run the jobs (default: none)")
    parser.add_argument(
        "--idle",
        type=float,
        metavar="SECONDS",
        default=Deadlines.idle,
        help="end a worker that has had no job for this many seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--step-deadline",
        type=float,
        metavar="SECONDS",
        default=Deadlines.step,
        help="end a worker that makes no step for this many seconds (default: %(default)g; in a stage of one step,"
        " four times that)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        serve(
            arguments.address,
            arguments.state,
            files_port=arguments.files_port,
            deadlines=replace(Deadlines.for_step(arguments.step_deadline), idle=arguments.idle),
            workers=arguments.workers,
            cluster=arguments.cluster,
            linger=arguments.linger,
        )
    except EX4DError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
