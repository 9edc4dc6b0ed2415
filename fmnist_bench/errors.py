"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line that says what is wrong, where, and what is allowed. The command line
    prints it alone and exits with status 2; a library user catches it as a `ValueError`.
    """
