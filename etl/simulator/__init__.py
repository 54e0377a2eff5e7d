"""A simulated VB365 server: for the demo, for tests, and for people without one.

Read ``world.py`` first (what happens), then ``documents.py`` and ``session_documents.py`` (how each API version tells
it).
"""

from .faults import Faults
from .foreground import serve
from .happenings import something_happens
from .job import Job
from .messages import Request, Response
from .oddities import ODDITIES, PageStyle
from .server import SimulatedServer
from .sessions import LogLine, Session
from .world import World

__all__ = [
    "ODDITIES",
    "Faults",
    "Job",
    "LogLine",
    "PageStyle",
    "Request",
    "Response",
    "Session",
    "SimulatedServer",
    "World",
    "serve",
    "something_happens",
]
