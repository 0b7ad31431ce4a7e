"""Put finished runs together: ``python -m stdo.report runs=[outputs] out=report``."""

from stdo.cli.report import main

if __name__ == "__main__":
    main()
