"""`python -m tesseral`: the command `tesseral`."""

from tesseral.cluster.commands.cli import main

if __name__ == "__main__":
    main()
