"""What can be typed: the commands of `tesseral`, one module each, and how they print and end.

Begin with `app.py`, which joins them; a new command is a module beside `status.py` and a line there.
"""
