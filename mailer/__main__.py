"""`python -m mailer` is the command `mailer`."""

from mailer.cli import main

if __name__ == "__main__":
    main(prog_name="mailer")
