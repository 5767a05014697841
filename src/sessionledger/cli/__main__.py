"""`python -m sessionledger.cli`, where the script is not on the path."""

from sessionledger.cli.main import run

if __name__ == "__main__":
    run()
