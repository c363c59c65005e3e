"""@task: what it refuses, with a TypeError."""

from gigq import task


def refused(what, make):
    """Print how a decoration ends."""
    try:
        make()
    except TypeError as error:
        print(what, "TypeError", bool(str(error)))
    else:
        print(what, "accepted")


def plain():
    """Do nothing."""


def generator():
    """Yield nothing."""
    yield


async def coroutine():
    """Await nothing."""


def outer():
    """Make a nested function."""

    def nested():
        """Do nothing."""

    return nested


def closing(value):
    """Make a closure."""

    def closure():
        """Return what was given."""
        return value

    return closure


class Thing:
    """Have a method."""

    def method(self):
        """Do nothing."""

    @classmethod
    def of_class(cls):
        """Do nothing."""


refused("unknown option", lambda: task(colour="red")(plain))
refused("unknown option of two", lambda: task(name="x", dependencies=[])(plain))
refused("second decoration", lambda: task(task(plain)))
refused("second decoration with options", lambda: task(name="x")(task(plain)))
refused("lambda", lambda: task(lambda: None))
refused("lambda with options", lambda: task(priority=1)(lambda: None))
refused("nested", lambda: task(outer()))
refused("closure", lambda: task(closing(1)))
refused("method", lambda: task(Thing.method))
refused("bound method", lambda: task(Thing().method))
refused("class method", lambda: task(Thing.of_class))
refused("generator", lambda: task(generator))
refused("coroutine", lambda: task(coroutine))
refused("a number", lambda: task(3))
refused("a number with options", lambda: task(name="x")(3))
refused("a name by position", lambda: task("name"))
refused("plain", lambda: task(plain))
refused("plain with options", lambda: task(name="x")(plain))
refused("submit without a queue", lambda: task(plain).submit())
refused("to_job by position", lambda: task(plain).to_job(1))
