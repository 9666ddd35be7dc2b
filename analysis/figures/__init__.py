"""Figures of a report: each module makes the captioned figures of one topic, and holds their charts.

Begin with `figure.py`, a chart with its caption, and `axes.py`, what charts share.
"""
