"""A study or a recipe as a job of a Ray cluster: what is shipped, and the jobs of the cluster.

Begin with `shipment.py`, the files of a job; `jobs.py` submits, follows and stops it.
"""
