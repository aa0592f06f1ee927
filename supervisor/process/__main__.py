"""Start a template: python -m supervisor.process FD [MODULE ...]; see `process.template`.

Apart from it, for this has to come before anything else that imports `threading`.
"""

from supervisor.process.fork_hooks import skippable

with skippable():
    import logging  # noqa: F401
    import threading  # noqa: F401

    import supervisor.logs.setup  # noqa: F401

from supervisor.process.template import main

main()
