"""`python -m ev3lang`, the same as the console command."""

from ev3lang.cli import main

main()
