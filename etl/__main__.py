"""Run the command line as ``python -m etl``; it knows nothing but where the commands are."""

from etl.cli import main

if __name__ == "__main__":
    main()
