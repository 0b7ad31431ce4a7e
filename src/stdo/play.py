"""Play a package into a file: ``python -m stdo.play movie.stdo out.mp4``. Needs the base install
alone."""

# Before anything else is imported, see docs/security.md.
if __name__ == "__main__":
    from stdo.core.safe_path import leave_out_current_folder

    leave_out_current_folder()

from stdo.cli.play import main

if __name__ == "__main__":
    main()
