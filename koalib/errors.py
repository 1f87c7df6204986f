"""The one error that a user can mend."""


class UserError(ValueError):
    """A mistake of the user's: its text is one line that names the thing and the remedy.

    The command line prints it without a traceback and exits with 2.
    """
