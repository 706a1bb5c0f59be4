/*
 * The trigger wheel: where the crank is, as a function of time alone.
 *
 * A 60-2 wheel has 60 positions, 6 degrees apart, of which the last two have no tooth: 58 teeth and a gap per revolution. A
 * profile gives the engine's speed. It is held for a millisecond at a time, so the angle is a sum of integers (mRPM times ns)
 * and each tooth's ideal instant is exact, on every machine, for as long as the wheel turns. When a thread wakes has no part in it.
 */
#ifndef ECU_WHEEL_H
#define ECU_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TEETH = 58,
    POSITIONS = 60,
    POSITION_MDEG = 6000,
    REVOLUTION_MDEG = POSITIONS * POSITION_MDEG,
    LOWEST_RPM = 100,
    HIGHEST_RPM = 15000,
};

struct point {
    int32_t ms, rpm;
};

/* A polyline that repeats after its last point, which has the first one's speed and period_ms. */
struct profile {
    const char *name, *meaning;
    const struct point *points;
    int32_t period_ms, variation_rpm;
    bool blips;
};

extern const struct profile profiles[];
extern const int profile_count;

const struct profile *find_profile(const char *name);

struct speed {
    const struct profile *profile; /* NULL: constant_rpm */
    int32_t constant_rpm;
    uint32_t seed;
};

/* The engine's speed in 0.001 RPM. */
int32_t speed_mrpm(const struct speed *speed, int64_t ms);

/* From -1000 to 1000, different for each stream, a new value every step_ms and straight lines between them. */
int32_t variation(uint32_t seed, uint32_t stream, int64_t ms, int32_t step_ms);

struct wheel {
    struct speed speed;
    int64_t ms;          /* the millisecond that the last tooth came in */
    int32_t mrpm;        /* the speed in it */
    int64_t travel;      /* from that millisecond's start to the last tooth, in mRPM times ns */
    int64_t revolution;  /* of the last tooth; -1 before the first */
    int32_t tooth;       /* 0 to 57, the first after the gap being 0 */
    int64_t instant_ns;  /* of the last tooth, since the start */
    int32_t position_ns; /* time per position between the last two teeth: what a controller knows of the speed */
};

void wheel_init(struct wheel *wheel, const struct speed *speed);

/* Turn to the next tooth. The first one comes at 0 ns. */
void wheel_turn(struct wheel *wheel);

#endif
