"""The command `gigq`: submits jobs, looks at them, waits for them.

`main` runs a command line and owns its exit code; `command_group` knows which module holds which
command. Those modules hold the commands and no more: what is shown is made in `show`.
"""
