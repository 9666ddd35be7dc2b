"""`tesseral` as it is typed. Signals and streams come first: what the commands import takes a second."""

from tesseral.cluster.commands.signals import heard
from tesseral.cluster.commands.streams import dependable


def main() -> None:
    """Run the command line. A user's mistake is one sentence and exit code 2."""
    with heard(), dependable():
        from tesseral.cluster.commands.app import app
        from tesseral.cluster.commands.exit_codes import explained

        with explained():
            app(prog_name="tesseral")


if __name__ == "__main__":
    main()
