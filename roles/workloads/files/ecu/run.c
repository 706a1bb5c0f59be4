/* A run: see run.h. */
#include "run.h"
#include "realtime.h"

#include <string.h>

enum { START_DELAY_NS = 100000000, PAUSE_NS = 1000000, REVOLUTIONS_PER_PAUSE = 32, TOOTH_TOLERANCE_MDEG = POSITION_MDEG };

static int stopped; /* set by a signal's handler in another thread: atomic */

void run_stop(void)
{
    __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
}

uint64_t rehearse(const struct speed *speed, struct digest *digest)
{
    static struct controller controller;
    digest->rehearsal = true;
    controller_init(&controller, speed, digest);
    for (int64_t i = 0; i < digest->revolutions * TEETH; i++) {
        wheel_turn(&controller.wheel);
        controller_follow(&controller);
    }
    digest->rehearsal = false;
    return controller.digest.hash;
}

static void note_speed(struct run *run, int64_t revolution_ns)
{
    if (!run->fastest_ns || revolution_ns < run->fastest_ns)
        run->fastest_ns = revolution_ns;
    if (revolution_ns > run->slowest_ns)
        run->slowest_ns = revolution_ns;
}

/* Back in sync if this revolution begins late enough to sleep for it. */
static void find_sync(struct run *run)
{
    const struct wheel *wheel = &run->controller.wheel;
    int64_t half_ns = (int64_t)wheel->position_ns * POSITIONS / 2;
    if (run->lost_revolutions % REVOLUTIONS_PER_PAUSE == 0)
        sleep_until(monotonic_ns() + PAUSE_NS); /* the way back may be long */
    run->in_sync = run->start_ns + wheel->instant_ns >= monotonic_ns() + half_ns;
    if (!run->in_sync)
        run->lost_revolutions++;
}

/* False if there is none to begin any more. */
static bool begin_revolution(struct run *run)
{
    const struct wheel *wheel = &run->controller.wheel;
    if (wheel->revolution > 0) {
        run->whole_revolutions = wheel->revolution;
        note_speed(run, wheel->instant_ns - run->tooth_0_ns);
    }
    run->tooth_0_ns = wheel->instant_ns;
    if (wheel->instant_ns >= run->duration_ns || wheel->revolution >= run->options->revolutions)
        return false;
    if (!run->in_sync)
        find_sync(run);
    run->revolutions++;
    return true;
}

static void arm_outputs(struct run *run)
{
    for (int i = 0; i < run->controller.switch_count; i++) {
        const struct switching *switching = &run->controller.switches[i];
        struct count *events = &run->events[switching->kind];
        events->expected++;
        if (!run->in_sync || !output_arm(&run->outputs[switching->output], switching))
            events->lost++;
    }
}

static void meet_tooth(struct run *run)
{
    const struct wheel *wheel = &run->controller.wheel;
    int64_t due_ns = run->start_ns + wheel->instant_ns;
    int64_t late_ns = sleep_until(due_ns) - due_ns;
    lateness_add(&run->teeth.lateness, wheel->instant_ns, late_ns, wheel->position_ns);
    controller_follow(&run->controller);
    arm_outputs(run);
    run->late_in_a_row = late_ns > wheel->position_ns ? run->late_in_a_row + 1 : 0;
    if (late_ns > (int64_t)wheel->position_ns * POSITIONS || run->late_in_a_row == TEETH) {
        run->in_sync = false;
        run->late_in_a_row = 0;
        run->lost_revolutions += wheel->tooth < TEETH - 1;
    }
}

static void lose_tooth(struct run *run)
{
    controller_follow(&run->controller);
    arm_outputs(run);
    run->teeth.lost++;
}

static void *turn(void *argument)
{
    struct run *run = argument;
    const struct wheel *wheel = &run->controller.wheel;
    for (;;) {
        wheel_turn(&run->controller.wheel);
        if (__atomic_load_n(&stopped, __ATOMIC_RELAXED) || (wheel->tooth == 0 && !begin_revolution(run)))
            break;
        run->teeth.expected++;
        if (run->in_sync)
            meet_tooth(run);
        else
            lose_tooth(run);
    }
    run->end_ns = wheel->instant_ns;
    run->cpu_ns = thread_cpu_ns();
    return NULL;
}

int run_init(struct run *run, const struct options *options, const struct speed *speed, const struct digest *digest)
{
    memset(run, 0, sizeof *run);
    run->options = options;
    run->in_sync = true;
    run->duration_ns = options->duration_s < 9e9 ? (int64_t)(options->duration_s * 1e9 + 0.5) : INT64_MAX;
    controller_init(&run->controller, speed, digest);
    int64_t tolerance_mdeg = (int64_t)(options->tolerance_deg * 1e3 + 0.5);
    int64_t injection_mdeg = (int64_t)(options->injection_tolerance_deg * 1e3 + 0.5);
    int failed = lateness_init(&run->teeth.lateness, options->histogram_us, TOOTH_TOLERANCE_MDEG);
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t mdeg = kind < DWELL_START ? injection_mdeg : tolerance_mdeg;
        failed |= lateness_init(&run->events[kind].lateness, options->histogram_us, mdeg);
        for (int cylinder = 0; cylinder < CYLINDERS; cylinder++) {
            struct output *output = &run->outputs[kind < DWELL_START ? cylinder : CYLINDERS + cylinder];
            failed |= lateness_init(&output->lateness[kind % KINDS_PER_OUTPUT], options->histogram_us, mdeg);
        }
    }
    return failed ? -1 : 0;
}

static void gather(struct run *run)
{
    for (int i = 0; i < OUTPUTS; i++) {
        run->cpu_ns += run->outputs[i].cpu_ns;
        int first = i < CYLINDERS ? INJECTOR_OPEN : DWELL_START;
        for (int k = 0; k < KINDS_PER_OUTPUT; k++)
            lateness_merge(&run->events[first + k].lateness, &run->outputs[i].lateness[k]);
    }
}

/* Outputs are above the wheel: a spark that is due interrupts the computation for a later one. */
int run_all(struct run *run)
{
    int priority = run->options->realtime ? run->options->priority : 0;
    int error = 0, started = 0;
    while (!error && started < OUTPUTS)
        if (!(error = output_start(&run->outputs[started], priority, &run->start_ns)))
            started++;
    if (!error) {
        run->start_ns = monotonic_ns() + START_DELAY_NS;
        error = start_thread(&run->thread, priority ? priority - 1 : 0, turn, run);
    }
    if (!error)
        pthread_join(run->thread, NULL);
    while (started > 0)
        output_finish(&run->outputs[--started]);
    gather(run);
    return error;
}

void run_free(struct run *run)
{
    lateness_free(&run->teeth.lateness);
    for (int kind = 0; kind < KINDS; kind++)
        lateness_free(&run->events[kind].lateness);
    for (int i = 0; i < OUTPUTS * KINDS_PER_OUTPUT; i++)
        lateness_free(&run->outputs[i / KINDS_PER_OUTPUT].lateness[i % KINDS_PER_OUTPUT]);
}
