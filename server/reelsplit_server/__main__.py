"""``python -m reelsplit_server`` serves. Workers import this module too, so it imports late."""

import sys

if __name__ == "__main__":
    from reelsplit_server.main import main

    sys.exit(main())
