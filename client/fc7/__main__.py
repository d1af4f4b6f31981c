"""`python -m fc7` is the command `fc7`."""

from __future__ import annotations

from fc7.cli import main

if __name__ == "__main__":
    main(prog_name="fc7")
