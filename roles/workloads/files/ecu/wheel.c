/* The trigger wheel and the profiles of its speed: see wheel.h. Integers only. */
#include "wheel.h"

#include <stddef.h>
#include <string.h>

enum { NS_PER_MS = 1000000, MRPM_PER_RPM = 1000 };
static const int64_t TRAVEL_PER_POSITION = INT64_C(1000000000000); /* one revolution is 60 s times 1 RPM = 6e13 mRPM ns */

static const struct point idle[] = {{0, 800}, {10000, 800}};
static const struct point cruise[] = {{0, 3000}, {10000, 3000}};
static const struct point redline[] = {{0, 9000}, {10000, 9000}};
static const struct point ramp[] = {{0, 800}, {1000, 800}, {4500, 9000}, {5500, 9000}, {9000, 800}, {10000, 800}};
static const struct point cycle[] = {
    {0, 800},      {4000, 800},                                                    /* idle */
    {8000, 9000},  {9000, 9000},  {12500, 800},  {13500, 800},                     /* ramp */
    {15000, 3000}, {19000, 3000},                                                  /* cruise */
    {19150, 7000}, {19200, 7000}, {19600, 3000}, {20500, 3000},                    /* blips */
    {20650, 8500}, {20700, 8500}, {21100, 3000}, {22000, 3000},
    {24000, 9000}, {28000, 9000}, {30000, 800},                                    /* redline */
};

const struct profile profiles[] = {
    {"idle", "about 800 RPM", idle, 10000, 30, false},
    {"cruise", "about 3000 RPM", cruise, 10000, 20, false},
    {"redline", "9000 RPM", redline, 10000, 0, false},
    {"ramp", "idle, up to 9000 RPM within 3.5 s, back to idle; repeats every 10 s", ramp, 10000, 10, false},
    {"bursts", "cruise, and once a second a blip to 6000 to 8500 RPM", cruise, 10000, 20, true},
    {"cycle", "idle, ramp, cruise, blips, redline; repeats every 30 s", cycle, 30000, 10, false},
};
const int profile_count = sizeof profiles / sizeof profiles[0];

const struct profile *find_profile(const char *name)
{
    for (int i = 0; i < profile_count; i++)
        if (!strcmp(profiles[i].name, name))
            return &profiles[i];
    return NULL;
}

static int64_t between(int64_t from, int64_t to, int64_t part, int64_t whole)
{
    return from + (to - from) * part / whole;
}

/* The finalizer of MurmurHash3 (Appleby): each bit of the input changes half of the bits of the output. */
static uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    x ^= x >> 16;
    return x;
}

static uint32_t random_at(uint32_t seed, uint32_t stream, int64_t index)
{
    return mix(mix(mix(seed) + stream) + (uint32_t)index);
}

int32_t variation(uint32_t seed, uint32_t stream, int64_t ms, int32_t step_ms)
{
    int64_t index = ms / step_ms;
    int32_t from = (int32_t)(random_at(seed, stream, index) % 2001) - 1000;
    int32_t to = (int32_t)(random_at(seed, stream, index + 1) % 2001) - 1000;
    return (int32_t)between(from, to, ms % step_ms, step_ms);
}

static int64_t polyline_mrpm(const struct point *points, int64_t ms)
{
    int last = 1;
    while (points[last].ms < ms)
        last++;
    const struct point *from = &points[last - 1], *to = &points[last];
    return between((int64_t)from->rpm * MRPM_PER_RPM, (int64_t)to->rpm * MRPM_PER_RPM, ms - from->ms, to->ms - from->ms);
}

/* What the driver's foot adds: begins within the first 0.3 s of each second, 3000 to 5500 RPM high. */
static int64_t blip_mrpm(uint32_t seed, int64_t ms)
{
    enum { BEGIN_MS = 300, UP_MS = 150, HOLD_MS = 50, DOWN_MS = 350 };
    uint32_t chance = random_at(seed, 2, ms / 1000);
    int64_t height = (3000 + (int64_t)(chance % 2501)) * MRPM_PER_RPM;
    int64_t since = ms % 1000 - (int64_t)(chance >> 16) % BEGIN_MS;
    if (since < 0 || since >= UP_MS + HOLD_MS + DOWN_MS)
        return 0;
    if (since < UP_MS)
        return between(0, height, since, UP_MS);
    return since < UP_MS + HOLD_MS ? height : between(height, 0, since - UP_MS - HOLD_MS, DOWN_MS);
}

int32_t speed_mrpm(const struct speed *speed, int64_t ms)
{
    const struct profile *profile = speed->profile;
    if (!profile)
        return speed->constant_rpm * MRPM_PER_RPM;
    int64_t mrpm = polyline_mrpm(profile->points, ms % profile->period_ms);
    mrpm += variation(speed->seed, 1, ms, 200) * profile->variation_rpm; /* thousandths of RPM */
    if (profile->blips)
        mrpm += blip_mrpm(speed->seed, ms);
    return (int32_t)mrpm;
}

void wheel_init(struct wheel *wheel, const struct speed *speed)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->speed = *speed;
    wheel->mrpm = speed_mrpm(speed, 0);
    wheel->revolution = -1;
    wheel->tooth = TEETH - 1;
    wheel->position_ns = (int32_t)(TRAVEL_PER_POSITION / wheel->mrpm);
}

void wheel_turn(struct wheel *wheel)
{
    bool first = wheel->revolution < 0;
    int positions = wheel->tooth == TEETH - 1 ? POSITIONS - TEETH + 1 : 1;
    if (++wheel->tooth == TEETH) {
        wheel->tooth = 0;
        wheel->revolution++;
    }
    if (first)
        return;
    wheel->travel += positions * TRAVEL_PER_POSITION;
    while (wheel->travel > (int64_t)wheel->mrpm * NS_PER_MS) {
        wheel->travel -= (int64_t)wheel->mrpm * NS_PER_MS;
        wheel->mrpm = speed_mrpm(&wheel->speed, ++wheel->ms);
    }
    int64_t instant_ns = wheel->ms * NS_PER_MS + (wheel->travel + wheel->mrpm - 1) / wheel->mrpm;
    wheel->position_ns = (int32_t)((instant_ns - wheel->instant_ns) / positions);
    wheel->instant_ns = instant_ns;
}
