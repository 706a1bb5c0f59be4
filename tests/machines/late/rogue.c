/*
 * rogue: has its core for ROGUE_US, again and again, at instants that have nothing to do with a period of milliseconds.
 */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

enum { ROGUE_US = 3000 };

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
    const struct timespec pause = {0, 70300000};
    for (;;) {
        nanosleep(&pause, NULL);
        const long long end = now() + ROGUE_US * 1000LL;
        while (now() < end)
            ;
    }
}
