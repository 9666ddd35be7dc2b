"""Where and when it runs: executors, the driver and the command line."""
