"""`python -m sparseloom` is the command."""

from sparseloom.cli import main

if __name__ == "__main__":
    main()
