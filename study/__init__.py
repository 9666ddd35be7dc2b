"""What is asked: the study file, arms, trials and records."""
