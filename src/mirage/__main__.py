"""`python -m mirage`, for launchers that start modules."""

from mirage.cli import console

if __name__ == "__main__":
    console()
