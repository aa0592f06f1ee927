"""letitcrash: Erlang-grade supervision for real OS processes.

Only declarations live here: importing this package (as every worker does) loads no runtime.
"""

from supervisor.errors import Ignore
from supervisor.recycler import Recycler, recycle
from supervisor.tree import Child, Queue, Supervisor

__all__ = ["Child", "Ignore", "Queue", "Recycler", "Supervisor", "recycle"]

__version__ = "0.1.0"
