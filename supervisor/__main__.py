"""`python -m gigq.supervisor`: the same as `gigqd`."""

from gigq.supervisor.main import main

main(prog_name="gigqd")
