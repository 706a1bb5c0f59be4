/* From teeth to instants: see controller.h. */
#include "controller.h"
#include "realtime.h"

#include <string.h>

enum { FIRST_TDC_MDEG = 84000, FIRING_MDEG = 180000, OPENING_BTDC_MDEG = 120000, LEAD_MDEG = POSITION_MDEG };
enum { SHORTEST_STATE_NS = 50000 }; /* for which an output keeps its state */

static const int firing_order[CYLINDERS] = {0, 2, 3, 1};

static void digest_add(struct digest *digest, int64_t value)
{
    for (int shift = 0; shift < 64; shift += 8)
        digest->hash = (digest->hash ^ ((uint64_t)value >> shift & 0xff)) * UINT64_C(0x100000001b3);
}

static void digest_end_revolution(struct digest *digest, int64_t revolution)
{
    if (digest->rehearsal)
        digest->after[revolution] = digest->hash;
    else if (digest->after[revolution] != digest->hash)
        digest->agrees = false;
}

static bool digest_takes_part(const struct controller *controller)
{
    return controller->wheel.revolution < controller->digest.revolutions;
}

static void plan(struct controller *controller, int64_t angle_mdeg, enum kind kind, int output, int32_t pulse_100ns)
{
    if (angle_mdeg >= LEAD_MDEG && controller->planned_count < MOST_PLANNED) /* not what was before the start */
        controller->planned[controller->planned_count++] = (struct planned){angle_mdeg, pulse_100ns, kind, output};
}

static void plan_cylinder(struct controller *controller, const struct command *command, int cylinder, int64_t tdc_mdeg,
                          int32_t pulse_100ns)
{
    int64_t spark_mdeg = tdc_mdeg - command->advance_mdeg;
    int64_t dwell_mdeg = (int64_t)command->dwell_100ns * 100 * POSITION_MDEG / controller->wheel.position_ns;
    if (pulse_100ns > 0)
        plan(controller, tdc_mdeg - OPENING_BTDC_MDEG, INJECTOR_OPEN, cylinder, pulse_100ns);
    plan(controller, spark_mdeg - dwell_mdeg, DWELL_START, CYLINDERS + cylinder, 0);
    plan(controller, spark_mdeg, SPARK, CYLINDERS + cylinder, 0);
}

/* For the two cylinders that fire in a revolution. */
static void plan_revolution(struct controller *controller, int64_t revolution)
{
    struct command command;
    int first = revolution & 1 ? CYLINDERS_PER_REVOLUTION : 0;
    int64_t began_ns = monotonic_ns();
    engine_compute(&controller->engine, &controller->wheel.speed, controller->wheel.instant_ns, controller->revolution_ns, first,
                   &command);
    controller->computing_ns += monotonic_ns() - began_ns;
    controller->computed++;
    if (digest_takes_part(controller)) {
        digest_add(&controller->digest, command.advance_mdeg);
        digest_add(&controller->digest, command.dwell_100ns);
        digest_add(&controller->digest, command.fuel_cut);
        for (int i = 0; i < CYLINDERS_PER_REVOLUTION; i++)
            digest_add(&controller->digest, command.pulse_100ns[i]);
    }
    int64_t tdc_mdeg = revolution * REVOLUTION_MDEG + FIRST_TDC_MDEG;
    for (int i = 0; i < CYLINDERS_PER_REVOLUTION; i++)
        plan_cylinder(controller, &command, firing_order[first + i], tdc_mdeg + i * FIRING_MDEG, command.pulse_100ns[i]);
}

static void switch_at(struct controller *controller, int64_t instant_ns, enum kind kind, int output)
{
    int64_t *earliest_ns = &controller->earliest_ns[output];
    if (instant_ns < *earliest_ns) /* when the engine has sped up since the last one was planned */
        instant_ns = *earliest_ns;
    *earliest_ns = instant_ns + SHORTEST_STATE_NS;
    controller->switches[controller->switch_count++] =
        (struct switching){instant_ns, controller->wheel.position_ns, kind, output};
    if (digest_takes_part(controller)) {
        digest_add(&controller->digest, kind * OUTPUTS + output);
        digest_add(&controller->digest, instant_ns);
    }
}

/* An angle becomes an instant; an opening brings its closing along. */
static void schedule(struct controller *controller, const struct planned *planned, int64_t tooth_mdeg)
{
    const struct wheel *wheel = &controller->wheel;
    int64_t instant_ns = wheel->instant_ns + (planned->angle_mdeg - tooth_mdeg) * wheel->position_ns / POSITION_MDEG;
    switch_at(controller, instant_ns, planned->kind, planned->output);
    if (planned->kind == INJECTOR_OPEN) {
        instant_ns = controller->switches[controller->switch_count - 1].instant_ns;
        switch_at(controller, instant_ns + (int64_t)planned->pulse_100ns * 100, INJECTOR_CLOSE, planned->output);
    }
}

static void schedule_what_is_near(struct controller *controller)
{
    const struct wheel *wheel = &controller->wheel;
    int64_t tooth_mdeg = wheel->revolution * REVOLUTION_MDEG + (int64_t)wheel->tooth * POSITION_MDEG;
    int64_t positions = wheel->tooth == TEETH - 1 ? POSITIONS - TEETH + 1 : 1;
    int64_t horizon_mdeg = tooth_mdeg + positions * POSITION_MDEG + LEAD_MDEG;
    int kept = 0;
    for (int i = 0; i < controller->planned_count; i++) {
        if (controller->planned[i].angle_mdeg < horizon_mdeg)
            schedule(controller, &controller->planned[i], tooth_mdeg);
        else
            controller->planned[kept++] = controller->planned[i];
    }
    controller->planned_count = kept;
}

void controller_init(struct controller *controller, const struct speed *speed, const struct digest *digest)
{
    memset(controller, 0, sizeof *controller);
    wheel_init(&controller->wheel, speed);
    engine_init(&controller->engine);
    controller->digest = *digest;
    controller->digest.hash = UINT64_C(0xcbf29ce484222325);
    controller->digest.agrees = true;
    controller->revolution_ns = (int64_t)controller->wheel.position_ns * POSITIONS;
    plan_revolution(controller, 0); /* as the revolution before the start would have done */
}

void controller_follow(struct controller *controller)
{
    const struct wheel *wheel = &controller->wheel;
    controller->switch_count = 0;
    if (wheel->tooth == 0) {
        if (wheel->revolution > 0)
            controller->revolution_ns = wheel->instant_ns - controller->tooth_0_ns;
        controller->tooth_0_ns = wheel->instant_ns;
        plan_revolution(controller, wheel->revolution + 1);
    }
    schedule_what_is_near(controller);
    if (wheel->tooth == TEETH - 1 && digest_takes_part(controller))
        digest_end_revolution(&controller->digest, wheel->revolution);
}
