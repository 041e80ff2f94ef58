"""Errors that a user reads: one line that says where, what is wrong, and what mends it.

Anything else that reaches the command line is a bug and keeps its traceback.
"""


class DashgazeError(Exception):
    """A failure while doing what was asked: exit code 1.

    `where` names file, field or row; `problem` says what is wrong; `remedy` says what mends it.
    """

    exit_code = 1

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        self.where, self.problem, self.remedy = where, problem, remedy
        line = f"{where}: {problem}" + (f"; {remedy}" if remedy else "")
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[type["DashgazeError"], tuple[str, str, str]]:
        """Let an error travel from one process to another."""
        return type(self), (self.where, self.problem, self.remedy)


class InputError(DashgazeError):
    """Wrong usage, or an input that cannot be used: exit code 2."""

    exit_code = 2
