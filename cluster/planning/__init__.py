"""What a study costs and cannot reach, before anything is trained.

Begin with `plan` in `plan.py`, which turns a study into a `StudyPlan`, and `prepare`, which also checks its data;
`forecast.py` estimates times and writes the notes that `tesseral plan` prints.
"""
