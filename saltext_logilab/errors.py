"""
The errors of the package.

::

    LogilabError             what every area raises; its text is one sentence for the user
    ├── ConfigurationError   an unknown key, a wrong type, an impossible value
    ├── UnavailableError     a program, library, daemon, port or registry that cannot be had
    ├── RefusedError         what was asked would lose or overwrite something
    └── WireError            what came over a wire is malformed, forged or too large
"""


class LogilabError(Exception):
    """An error whose text tells a user in one sentence what is wrong."""


class ConfigurationError(LogilabError):
    """A setting is unknown, has the wrong type or an impossible value."""


class UnavailableError(LogilabError):
    """Something that the work needs cannot be had: a program, a library, a daemon, a port."""


class RefusedError(LogilabError):
    """What was asked for would lose, overwrite or endanger something."""


class WireError(LogilabError):
    """What came over a wire is malformed, forged, replayed or too large."""
