"""Pack a finished run into what is shipped: ``python -m stdo.deliver run=outputs/…
weights.bits=8``."""

from stdo.cli.deliver import main

if __name__ == "__main__":
    main()
