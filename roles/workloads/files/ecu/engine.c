/* The engine and its maps: see engine.h for the model and its sources. */
#include "engine.h"

#include <math.h>
#include <string.h>

static const double AMBIENT_PA = 101325.0;
static const double CYLINDER_M3 = 0.4e-3;
static const double AIR_J_PER_KG_K = 287.0;
static const double INTAKE_K = 298.15;
static const double STOICHIOMETRIC = 14.7; /* kg of air per kg of petrol */
static const double INJECTOR_KG_PER_S = 5e-3;
static const double LARGEST_DUTY = 0.85;
static const double PLENUM_S = 0.03;
static const double THROTTLE_RPM = 38000.0; /* speed at which an open throttle passes as much as the cylinders take, a = 1 */
static const double LEAK = 0.008;           /* idle air past the closed throttle, as a share of its open area */

enum { SPEEDS = 8, LOADS = 6, VOLTAGES = 5 };

static const double speeds_rpm[SPEEDS] = {800, 1500, 2500, 3500, 5000, 6500, 8000, 9500};
static const double loads_pa[LOADS] = {25e3, 40e3, 55e3, 70e3, 85e3, 100e3};
static const double volumetric_efficiency[SPEEDS][LOADS] = {
    {0.52, 0.57, 0.62, 0.66, 0.70, 0.72}, {0.56, 0.62, 0.68, 0.72, 0.76, 0.78}, {0.60, 0.67, 0.73, 0.78, 0.82, 0.84},
    {0.63, 0.70, 0.77, 0.82, 0.86, 0.89}, {0.66, 0.74, 0.81, 0.87, 0.92, 0.95}, {0.68, 0.77, 0.85, 0.91, 0.97, 1.00},
    {0.67, 0.76, 0.84, 0.91, 0.97, 1.01}, {0.62, 0.70, 0.78, 0.84, 0.89, 0.92},
};
static const double advance_deg[SPEEDS][LOADS] = {
    {14, 13, 12, 10, 8, 6},   {22, 20, 18, 15, 12, 9},  {30, 28, 25, 21, 17, 14}, {35, 33, 29, 25, 21, 18},
    {38, 36, 32, 28, 25, 22}, {40, 38, 34, 31, 28, 26}, {41, 39, 36, 33, 30, 28}, {41, 39, 36, 34, 31, 29},
};
static const double battery_v[VOLTAGES] = {8, 10, 12, 14, 16};
static const double dead_time_s[VOLTAGES] = {2.0e-3, 1.4e-3, 1.0e-3, 0.75e-3, 0.6e-3};
static const double dwell_s[VOLTAGES] = {6.5e-3, 4.6e-3, 3.4e-3, 2.7e-3, 2.3e-3};

struct sensors {
    double rpm, throttle, map_pa, coolant_c, battery_v; /* throttle from 0 to 1 */
};

static double clamp(double x, double lowest, double highest)
{
    return x < lowest ? lowest : x > highest ? highest : x;
}

/* Where x lies on an axis: the index below it, and how far on towards the next one, from 0 to 1. */
static int locate(const double *axis, int count, double x, double *part)
{
    int i = 0;
    while (i < count - 2 && x >= axis[i + 1])
        i++;
    *part = clamp((x - axis[i]) / (axis[i + 1] - axis[i]), 0.0, 1.0);
    return i;
}

static double look_up(const double *axis, const double *values, int count, double x)
{
    double part;
    int i = locate(axis, count, x, &part);
    return values[i] + part * (values[i + 1] - values[i]);
}

/* Bilinear interpolation. */
static double look_up_map(const double map[SPEEDS][LOADS], double rpm, double load_pa)
{
    double part;
    int i = locate(speeds_rpm, SPEEDS, rpm, &part);
    double slower = look_up(loads_pa, map[i], LOADS, load_pa);
    double faster = look_up(loads_pa, map[i + 1], LOADS, load_pa);
    return slower + part * (faster - slower);
}

static double throttle_at(const struct speed *speed, int64_t ms)
{
    enum { PAST_MS = 20 };
    double rpm = speed_mrpm(speed, ms) / 1000.0;
    double past_rpm = speed_mrpm(speed, ms < PAST_MS ? 0 : ms - PAST_MS) / 1000.0;
    double rpm_per_s = (rpm - past_rpm) * 1000.0 / PAST_MS;
    double noise = 3e-6 * variation(speed->seed, 3, ms, 50);
    return clamp((rpm - 800.0) / 8200.0 + 1e-4 * rpm_per_s + noise, 0.0, 1.0);
}

/* The positive root of a^2 (1 - x) = x^2. */
static double steady_map_pa(double throttle, double rpm)
{
    double a = (LEAK + throttle * throttle) * THROTTLE_RPM / rpm;
    return AMBIENT_PA * a * (sqrt(a * a + 4.0) - a) / 2.0;
}

static void read_sensors(struct engine *engine, const struct speed *speed, int64_t instant_ns, double revolution_s,
                         struct sensors *sensors)
{
    int64_t ms = instant_ns / 1000000;
    sensors->rpm = 60.0 / revolution_s;
    sensors->throttle = throttle_at(speed, ms);
    double to_go_pa = steady_map_pa(sensors->throttle, sensors->rpm) - engine->map_pa;
    engine->map_pa += to_go_pa * revolution_s / (revolution_s + PLENUM_S);
    sensors->map_pa = engine->map_pa;
    double cold = 120.0 / (120.0 + (double)ms / 1000.0);
    sensors->coolant_c = 90.0 - 70.0 * cold * cold;
    sensors->battery_v = clamp(13.2 + (sensors->rpm - 800.0) / 2000.0, 12.5, 14.2) + 2e-4 * variation(speed->seed, 4, ms, 100);
}

static double wanted_fuel_kg(const struct sensors *sensors)
{
    double efficiency = look_up_map(volumetric_efficiency, sensors->rpm, sensors->map_pa);
    double air_kg = efficiency * sensors->map_pa * CYLINDER_M3 / (AIR_J_PER_KG_K * INTAKE_K);
    double lambda = clamp(1.0 - (sensors->map_pa - 80e3) * 0.13 / 20e3, 0.87, 1.0);
    double warm_up = 1.0 + 0.004 * clamp(80.0 - sensors->coolant_c, 0.0, 120.0);
    return air_kg / (STOICHIOMETRIC * lambda) * warm_up;
}

/* Aquino's film, turned round: what must be injected so that the wanted mass arrives. A cold port keeps more, for longer. */
static double wet_wall_kg(double *film_kg, double wanted_kg, bool fuel_cut, double cycle_s, double coolant_c)
{
    double share = clamp(0.50 - 0.003 * coolant_c, 0.05, 0.6);
    double tau_s = clamp(0.60 - 0.004 * coolant_c, 0.05, 1.0);
    double evaporated_kg = *film_kg * cycle_s / (cycle_s + tau_s);
    double injected_kg = fuel_cut ? 0.0 : (wanted_kg - evaporated_kg) / (1.0 - share);
    injected_kg = clamp(injected_kg, 0.0, INJECTOR_KG_PER_S * LARGEST_DUTY * cycle_s);
    *film_kg += share * injected_kg - evaporated_kg;
    return injected_kg;
}

static double pulse_s(double injected_kg, double cycle_s, double volts)
{
    if (injected_kg <= 0.0)
        return 0.0;
    double open_s = injected_kg / INJECTOR_KG_PER_S + look_up(battery_v, dead_time_s, VOLTAGES, volts);
    return clamp(open_s, 0.0, LARGEST_DUTY * cycle_s);
}

static bool cut_fuel(struct engine *engine, const struct sensors *sensors)
{
    double resume_rpm = engine->overrun ? 1300.0 : 1500.0;
    engine->overrun = sensors->throttle < 0.01 && sensors->rpm > resume_rpm;
    return engine->overrun || sensors->rpm > 9500.0;
}

static double spark_advance_deg(const struct sensors *sensors)
{
    double advance = look_up_map(advance_deg, sensors->rpm, sensors->map_pa);
    advance += clamp(0.05 * (60.0 - sensors->coolant_c), 0.0, 4.0);
    if (sensors->throttle < 0.02 && sensors->rpm < 1200.0)
        advance += clamp(0.03 * (800.0 - sensors->rpm), -5.0, 5.0);
    if (sensors->rpm > 9300.0)
        advance -= 0.05 * (sensors->rpm - 9300.0);
    double knock_limit = 50.0 - 0.22e-3 * sensors->map_pa - 0.2 * clamp(sensors->coolant_c - 88.0, 0.0, 20.0);
    return clamp(advance, -5.0, clamp(knock_limit, 0.0, 45.0));
}

/* The nearest integer. */
static int32_t fixed_point(double x)
{
    return (int32_t)floor(x + 0.5);
}

void engine_init(struct engine *engine)
{
    memset(engine, 0, sizeof *engine);
    engine->map_pa = AMBIENT_PA / 3.0;
}

void engine_compute(struct engine *engine, const struct speed *speed, int64_t instant_ns, int64_t revolution_ns, int first,
                    struct command *command)
{
    struct sensors sensors;
    double revolution_s = (double)revolution_ns * 1e-9, cycle_s = 2.0 * revolution_s;
    read_sensors(engine, speed, instant_ns, revolution_s, &sensors);
    command->fuel_cut = cut_fuel(engine, &sensors);
    double wanted_kg = wanted_fuel_kg(&sensors);
    for (int i = 0; i < CYLINDERS_PER_REVOLUTION; i++) {
        double *film_kg = &engine->film_kg[first + i];
        double injected_kg = wet_wall_kg(film_kg, wanted_kg, command->fuel_cut, cycle_s, sensors.coolant_c);
        command->pulse_100ns[i] = fixed_point(1e7 * pulse_s(injected_kg, cycle_s, sensors.battery_v));
    }
    command->advance_mdeg = fixed_point(1e3 * spark_advance_deg(&sensors));
    command->dwell_100ns = fixed_point(1e7 * look_up(battery_v, dwell_s, VOLTAGES, sensors.battery_v));
}
