"""What does `python -m worker` do?"""

from worker.cli import main

main()
