"""`python -m dashgaze`."""

from dashgaze.cli import main

main()
