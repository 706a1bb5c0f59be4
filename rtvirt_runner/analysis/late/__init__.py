"""Why a wake-up was late: traces of a board and its guest on one time line, and an owner for each microsecond."""
