"""All exceptions that ex4d raises on purpose.

Each message is one sentence for the person in front of the screen: what is wrong and what to do.
The command line prints it and exits with code 2; the add-on shows it in its panel.
"""


class EX4DError(Exception):
    """Base of all errors that a user can act on."""


class InputError(EX4DError):
    """A file or a setting that cannot be used as it is."""


class PluginError(EX4DError):
    """A plugin from another package failed, or returned something that cannot be used."""


class ServerError(EX4DError):
    """The backend is missing, has another version, or refused a request."""


class Cancelled(EX4DError):
    """The user asked to stop; raised between two steps, never inside one."""
