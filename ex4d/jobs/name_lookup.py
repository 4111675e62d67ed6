"""Looking up the address of a host by its name, which can take many seconds, beside a program that never waits."""

import socket
import threading

from ex4d.jobs.address import is_numeric


class NameLookup:
    """One look-up, which begins when it is made.

    Attributes:
        host: an IPv4 address, which needs no looking up, or a name.
        address: the IPv4 address, once it is known; until then "".
        failed: nobody knows the name now.
    """

    def __init__(self, host: str) -> None:
        self.host, self.address, self.failed = host, "", False
        if is_numeric(host):
            self.address = host
        else:  # no library call gives up in time; a daemon keeps no program from ending
            threading.Thread(target=self._look, name="name lookup", daemon=True).start()

    @property
    def pending(self) -> bool:
        """It is not known yet."""
        return not self.address and not self.failed

    def _look(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, socket.AF_INET, socket.SOCK_STREAM)
            self.address = str(found[0][4][0])
        except (OSError, UnicodeError, IndexError):
            self.failed = True
