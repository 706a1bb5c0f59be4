/*
 * The engine and its maps: what fuel and spark one revolution wants.
 *
 * A port-injected four-cylinder four-stroke of 1.6 l with one injector and one coil per cylinder. Masses in kg, pressures in Pa,
 * temperatures in K where gas is meant and in degrees C where a sensor speaks; MAP is the manifold's absolute pressure.
 *
 * What the sensors would say is a function of ideal time and the seed:
 *   throttle   what holds the speed, plus a share of the acceleration: 100 % (n - 800) / 8200 + 0.01 % dn/dt [RPM/s], and noise
 *   MAP        p follows the pressure p' = x p_ambient at which as much air passes the throttle as the cylinders take:
 *              a^2 (1 - x) = x^2, the orifice equation for small pressure differences, with a ~ open area / speed;
 *              dp/dt = (p' - p) / 30 ms, for the plenum has to be filled (Heywood, chapter 7)
 *   coolant    warms up from 20 to 90 degrees C;   battery   13.2 V at idle to 14.2 V, and noise;   intake air   25 degrees C
 *
 * Fuel, once per revolution for the two cylinders that fire in the next one (J. B. Heywood, "Internal Combustion Engine
 * Fundamentals", McGraw-Hill, 1988):
 *   air        m_a = VE(n, p) p V / (R T)                           speed-density: the ideal gas law, volumetric efficiency VE
 *   wanted     m_f = m_a / (14.7 lambda) (1 + 0.004 (80 - T_coolant))   stoichiometry, rich at high load, richer when cold
 *   film       X m_i of what is injected, m_i, wets the port, and the film m_w evaporates with time constant tau:
 *              dm_w/dt = X dm_i/dt - m_w / tau     (C. F. Aquino, SAE 810494, 1981)
 *              so that m_f arrives, m_i = (m_f - e m_w) / (1 - X), with e = h / (h + tau) for one cycle of duration h
 *   pulse      m_i / injector flow + dead time(battery), at most 85 % of a cycle
 *   no fuel    above 9500 RPM, and on the overrun: throttle closed above 1500 RPM
 *
 * Spark: advance from a map of speed and load, earlier when cold, steadying at idle, later from 9300 RPM on, never beyond what the
 * load allows without knock. Dwell, the time that the coil is charged, from the battery's voltage.
 *
 * The maps' numbers are plausible and belong to no particular engine. Only + - * / and sqrt() are used, which IEEE 754 defines to
 * the last bit, and results are rounded to integers: the same everywhere.
 */
#ifndef ECU_ENGINE_H
#define ECU_ENGINE_H

#include "wheel.h"

enum { CYLINDERS = 4, CYLINDERS_PER_REVOLUTION = 2 };

/* For two cylinders, in firing order. */
struct command {
    bool fuel_cut;
    int32_t advance_mdeg;                               /* before top dead centre */
    int32_t dwell_100ns;                                /* how long the coil is charged */
    int32_t pulse_100ns[CYLINDERS_PER_REVOLUTION];      /* how long the injector is open; 0: not at all */
};

struct engine {
    double map_pa;
    double film_kg[CYLINDERS]; /* on the port's wall, by place in the firing order */
    bool overrun;
};

void engine_init(struct engine *engine);

/* What the cylinders at places first and first + 1 of the firing order want, after a revolution that took revolution_ns. */
void engine_compute(struct engine *engine, const struct speed *speed, int64_t instant_ns, int64_t revolution_ns, int first,
                    struct command *command);

#endif
