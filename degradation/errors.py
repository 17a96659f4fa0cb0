"""`rnr.Error`, the base of the project's own errors; here, so that every room can raise one."""


class Error(Exception):
    """What the project raises for its user: the message names what is wrong and what to do.

    Example:
        >>> issubclass(SetupError, Error), issubclass(DiagnosisError, ValueError)
        (True, True)
    """


class MissingExtra(Error, RuntimeError):
    """A package of an extra is not installed; the message says how to get it."""


class DiagnosisError(Error, ValueError):
    """A diagnosis, or an edit of one, that cannot be."""


class SetupError(Error, ValueError):
    """Nothing could be started: missing or broken weights, no such device, a setting that cannot be.

    Example:
        >>> try:
        ...     raise SetupError("device 'cuda' cannot be used here; try cpu")
        ... except Error as error:
        ...     print(error)
        device 'cuda' cannot be used here; try cpu
    """
