"""The one error that a contestant may raise on purpose."""


class AbsentError(Exception):
    """The arm cannot take part in this workload; says why. The worker knows it by its name."""
