"""The machines that trials run on: Ray's session, what a node must have, and the room that trials need on it.

Begin with `ray_session.py`, the one module that imports Ray; `needs.py` says what a trial reserves.
"""
