"""Looking up a host's address in the background: it can take many seconds, and the caller must not block."""

import socket
import threading

from ex4d.jobs.address import is_numeric


class NameLookup:
    """A single lookup, which starts on creation.

    Attributes:
        host: an IPv4 address, which needs no lookup, or a name.
        address: the IPv4 address; "" until it is known.
        failed: whether the name could not be resolved.
    """

    def __init__(self, host: str) -> None:
        self.host, self.address, self.failed = host, "", False
        if is_numeric(host):
            self.address = host
        else:  # no library call has a timeout; a daemon thread does not keep the program from ending
            threading.Thread(target=self._look, name="name lookup", daemon=True).start()

    @property
    def pending(self) -> bool:
        """Whether the lookup is still running."""
        return not self.address and not self.failed

    def _look(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, socket.AF_INET, socket.SOCK_STREAM)
            self.address = str(found[0][4][0])
        except (OSError, UnicodeError, IndexError):
            self.failed = True
