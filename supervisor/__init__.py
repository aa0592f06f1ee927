"""letitcrash: Erlang-grade supervision for real OS processes.

Only declarations live here: importing this package (as every worker does) loads no runtime.
"""

from supervisor.declare.logs import Logs
from supervisor.declare.recycler import Recycler, recycle
from supervisor.declare.tree import Child, Queue, Supervisor
from supervisor.errors import Ignore

__all__ = ["Child", "Ignore", "Logs", "Queue", "Recycler", "Supervisor", "recycle"]

__version__ = "0.1.0"
