"""What was found: tables, statistics, figures and the report."""
