"""An app whose import takes for ever."""

import os
import threading

with open(os.environ["MARKS"] + "/importing", "w"):
    threading.Event().wait()
