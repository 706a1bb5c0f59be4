/*
 * basicmath: the roots of cubic polynomials, integer square roots, angles from degrees to radians and back.
 *
 * A floating-point workload in the manner of the automotive suite of MiBench (Guthaus et al., WWC-4, 2001), written for rtvirt
 * from the formulas. Cosine, arc cosine and cube root are its own: C libraries differ in the last bit of theirs, and the
 * answer must be the same everywhere. The roots are put back into their polynomial, the integer roots squared.
 *
 *   rtvirt-basicmath [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#include "workload.h"

#include <math.h>
#include <stdbool.h>

enum { SMALL_CUBICS = 2000, LARGE_CUBICS = 60000 };
enum { SMALL_SQUARES = 8000, LARGE_SQUARES = 240000 };
enum { SMALL_ANGLES = 3600, LARGE_ANGLES = 108000 };

static const double PI = 3.14159265358979323846;

struct cubic {
    double a, b, c, d; /* a x^3 + b x^2 + c x + d */
    int roots;
    double root[3];
};

static struct cubic cubics[LARGE_CUBICS];
static uint32_t squares[LARGE_SQUARES];
static uint32_t square_roots[LARGE_SQUARES];
static double degrees[LARGE_ANGLES], radians[LARGE_ANGLES], degrees_back[LARGE_ANGLES];
static int cubic_count, square_count, angle_count;

/* Of an angle from 0 to 2 pi, by the Taylor series of the nearest angle up to pi / 2. */
static double cosine(double angle)
{
    if (angle > PI)
        angle = 2 * PI - angle;
    if (angle > PI / 2)
        return -cosine(PI - angle);
    double square = angle * angle, sum = 1;
    for (int n = 24; n > 0; n -= 2)
        sum = 1 - sum * square / (n * (n - 1));
    return sum;
}

/* Of 0 to 1, by the Taylor series of an eighth of the angle. */
static double arc_tangent(double x)
{
    for (int halvings = 0; halvings < 3; halvings++)
        x = x / (1 + sqrt(1 + x * x));
    double square = x * x, sum = 0;
    for (int n = 17; n > 0; n -= 2)
        sum = 1.0 / n - sum * square;
    return 8 * x * sum;
}

static double arc_cosine(double x)
{
    if (x < 0)
        return PI - arc_cosine(-x);
    return 2 * arc_tangent(sqrt((1 - x) / (1 + x)));
}

/* Of a number that is not negative, by Newton's method. */
static double cube_root(double x)
{
    if (x == 0)
        return 0;
    int exponent;
    double fraction = frexp(x, &exponent);
    while (exponent % 3 != 0) {
        exponent++;
        fraction /= 2;
    }
    double root = 0.4 + 0.6 * fraction;
    for (int step = 0; step < 6; step++)
        root = (2 * root + fraction / (root * root)) / 3;
    return ldexp(root, exponent / 3);
}

/* Three real roots by cosines (Viete), otherwise the one by Cardano's formula. */
static void solve(struct cubic *cubic)
{
    double b = cubic->b / cubic->a, c = cubic->c / cubic->a, d = cubic->d / cubic->a;
    double q = (b * b - 3 * c) / 9;
    double r = (2 * b * b * b - 9 * b * c + 27 * d) / 54;
    if (r * r < q * q * q) {
        double angle = arc_cosine(r / sqrt(q * q * q));
        cubic->roots = 3;
        for (int k = 0; k < 3; k++)
            cubic->root[k] = -2 * sqrt(q) * cosine((angle + 2 * k * PI) / 3) - b / 3;
    } else {
        double larger = cube_root(fabs(r) + sqrt(r * r - q * q * q));
        double both = larger > 0 ? larger + q / larger : 0;
        cubic->roots = 1;
        cubic->root[0] = (r > 0 ? -both : both) - b / 3;
    }
}

/* The largest integer whose square is not above x, two bits of x at a time. */
static uint32_t integer_square_root(uint32_t x)
{
    uint32_t root = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 2) {
        if (x >= root + bit) {
            x -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return root;
}

/* From -32 to 32 in sixteenths. */
static double random_coefficient(uint32_t *state)
{
    return ((double)random_below(state, 1025) - 512) / 16;
}

static void setup(enum workload_size size, uint32_t seed)
{
    cubic_count = size == SMALL ? SMALL_CUBICS : LARGE_CUBICS;
    square_count = size == SMALL ? SMALL_SQUARES : LARGE_SQUARES;
    angle_count = size == SMALL ? SMALL_ANGLES : LARGE_ANGLES;
    for (int i = 0; i < cubic_count; i++) {
        cubics[i].a = 1 + random_below(&seed, 16);
        cubics[i].b = random_coefficient(&seed);
        cubics[i].c = random_coefficient(&seed);
        cubics[i].d = random_coefficient(&seed);
    }
    for (int i = 0; i < square_count; i++) {
        squares[i] = random_next(&seed);
        squares[i] >>= random_below(&seed, 32);
    }
    for (int i = 0; i < angle_count; i++)
        degrees[i] = random_next(&seed) * (360 / 4294967296.0);
}

static uint64_t iterate(void)
{
    uint64_t digest = DIGEST_START;
    for (int i = 0; i < cubic_count; i++) {
        solve(&cubics[i]);
        for (int k = 0; k < cubics[i].roots; k++)
            digest = digest_double(digest, cubics[i].root[k]);
    }
    for (int i = 0; i < square_count; i++) {
        square_roots[i] = integer_square_root(squares[i]);
        digest = digest_u32(digest, square_roots[i]);
    }
    for (int i = 0; i < angle_count; i++) {
        radians[i] = degrees[i] * PI / 180;
        degrees_back[i] = radians[i] * 180 / PI;
        digest = digest_double(digest, radians[i]);
    }
    return digest;
}

/* Of a root, the polynomial's value is nothing beside its terms. */
static bool is_root(const struct cubic *cubic, double x)
{
    double size = fabs(x) > 1 ? fabs(x) : 1;
    double terms = fabs(cubic->a) * size * size * size + fabs(cubic->b) * size * size + fabs(cubic->c) * size + fabs(cubic->d);
    return fabs(((cubic->a * x + cubic->b) * x + cubic->c) * x + cubic->d) <= 1e-10 * terms;
}

/* Three roots sum up to -b / a; where there is one, the quadratic polynomial that it leaves has none. */
static bool is_complete(const struct cubic *cubic)
{
    const double *root = cubic->root;
    double b = cubic->b / cubic->a, c = cubic->c / cubic->a;
    if (cubic->roots == 3)
        return fabs(root[0] + root[1] + root[2] + b) <= 1e-9 * (1 + fabs(b));
    double linear = b + root[0], constant = c + root[0] * linear;
    return linear * linear / 4 - constant <= 1e-6 * (1 + fabs(c) + b * b);
}

static void check_cubic(const struct cubic *cubic)
{
    for (int k = 0; k < cubic->roots; k++)
        if (!is_root(cubic, cubic->root[k]))
            workload_wrong("%.17g is no root of %g x^3 + %g x^2 + %g x + %g.",
                           cubic->root[k], cubic->a, cubic->b, cubic->c, cubic->d);
    if (!is_complete(cubic))
        workload_wrong("%g x^3 + %g x^2 + %g x + %g has other roots than the %d that were found.",
                       cubic->a, cubic->b, cubic->c, cubic->d, cubic->roots);
}

static bool is_angle(double in_degrees, double in_radians, double back)
{
    const double degrees_per_radian = 57.29577951308232;
    return fabs(in_radians * degrees_per_radian - in_degrees) <= 1e-12 * 360 && fabs(back - in_degrees) <= 1e-12 * 360;
}

static void check(void)
{
    for (int i = 0; i < cubic_count; i++)
        check_cubic(&cubics[i]);
    for (int i = 0; i < square_count; i++) {
        uint64_t root = square_roots[i];
        if (root * root > squares[i] || (root + 1) * (root + 1) <= squares[i])
            workload_wrong("%lu is not the integer square root of %lu.", (unsigned long)root, (unsigned long)squares[i]);
    }
    for (int i = 0; i < angle_count; i++)
        if (!is_angle(degrees[i], radians[i], degrees_back[i]))
            workload_wrong("%.17g degrees became %.17g radians and these %.17g degrees.",
                           degrees[i], radians[i], degrees_back[i]);
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "basicmath",
        .summary = "Solves cubic equations, takes integer square roots and converts angles. Puts the roots back into the\n"
                   "polynomials, squares the integer roots and converts the angles back.",
        .inputs = {"2000 cubic equations, 8000 square roots, 3600 angles",
                   "60000 cubic equations, 240000 square roots, 108000 angles"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0xed5cc3f70aca115e), UINT64_C(0x7f57609995bfbbcf)},
    };
    return workload_main(&workload, argc, argv);
}
