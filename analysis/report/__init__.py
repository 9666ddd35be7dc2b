"""The report: findings in sentences, the table of arms, the summary for JSON, and the HTML page.

Begin with `report.py`, which renders `report.html.j2`, and `findings.py`, its opening sentences.
"""
