"""A server whose workers run tests/backend/runners.py: python serve.py ADDRESS STATE GRACE [FILE_LIMIT]."""

import logging
import os
import resource
import sys
from pathlib import Path

from ex4d_server.server import serve

from ex4d.errors import EX4DError

if __name__ == "__main__":
    address, state, grace, *limit = sys.argv[1:]
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), int(limit[0])))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for the workers, which import `runners`
    try:
        serve(address, Path(state), runner="runners:make", cancel_grace=float(grace))
    except EX4DError as error:
        sys.exit(str(error))
